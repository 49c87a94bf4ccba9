"""Nothing is lost when S3, its keys, model files or messages are faulty."""

import pytest

from producer import Outcome
from tests.support.patience import PATIENCE
from tests.system.chaos.cluster import PLAIN, Cluster
from tests.system.chaos.key_faults import FAULTS as KEY_FAULTS
from tests.system.chaos.load import Singles
from tests.system.chaos.message_faults import FAULTS as MESSAGE_FAULTS
from tests.system.chaos.model_faults import FAULTS as MODEL_FAULTS
from tests.system.chaos.one_round import OpenCluster, check_nothing_is_lost
from tests.system.chaos.rounds import Fault
from tests.system.chaos.s3_faults import FAULTS as S3_FAULTS
from tests.system.chaos.s3_proxy import Claim, Refuse, S3Proxy

FAULTS = (*S3_FAULTS, *KEY_FAULTS, *MODEL_FAULTS, *MESSAGE_FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_nothing_is_lost(open_cluster: OpenCluster, fault: Fault) -> None:
    check_nothing_is_lost(fault, open_cluster)


def test_a_redirect_of_s3_is_not_followed(open_cluster: OpenCluster) -> None:
    cluster = open_cluster(PLAIN)
    away = ("Location", "http://127.0.0.1:{}/photos/in/000000.jpg")
    with (
        S3Proxy(cluster.store.target) as redirect_target,
        redirect_target.failing(Refuse(500, "InternalError"), "GET", "HEAD") as arguments,
        cluster.store.failing(
            Refuse(307, "TemporaryRedirect", ((away[0], away[1].format(redirect_target.port)),)),
            "GET",
            place="photos",
        ) as hits,
    ):
        outcome = _first(cluster, "redirected")
    assert (outcome.code, arguments.hits) == ("storage_refused", 0)
    assert hits.hits == 1


def test_a_response_of_two_gigabytes_is_not_read(open_cluster: OpenCluster) -> None:
    cluster = open_cluster(PLAIN)
    with cluster.store.failing(Claim(2 * 2**30), "GET", place="photos"):
        outcome = _first(cluster, "claimed")
    assert outcome.code == "source_too_large"
    assert "found 2,147,483,648" in (outcome.message or "")


def _first(cluster: Cluster, prefix: str) -> Outcome:
    load = Singles.of(cluster, prefix, 1)
    load.send()
    return load.handles[0].wait(PATIENCE)
