"""Nothing is lost when S3, its keys, model files or messages are faulty."""

import pytest

from producer import Outcome
from tests.support.patience import PATIENCE
from tests.system.chaos.ground import PLAIN, Ground
from tests.system.chaos.key_faults import FAULTS as KEY_FAULTS
from tests.system.chaos.load import Singles
from tests.system.chaos.message_faults import FAULTS as MESSAGE_FAULTS
from tests.system.chaos.model_faults import FAULTS as MODEL_FAULTS
from tests.system.chaos.one_round import OpenGround, check_nothing_is_lost
from tests.system.chaos.rounds import Fault
from tests.system.chaos.s3_faults import FAULTS as S3_FAULTS
from tests.system.chaos.s3_proxy import Claim, Refuse, S3Proxy

FAULTS = (*S3_FAULTS, *KEY_FAULTS, *MODEL_FAULTS, *MESSAGE_FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_nothing_is_lost(open_ground: OpenGround, fault: Fault) -> None:
    check_nothing_is_lost(fault, open_ground)


def test_a_redirect_of_s3_is_not_followed(open_ground: OpenGround) -> None:
    ground = open_ground(PLAIN)
    away = ("Location", "http://127.0.0.1:{}/photos/in/000000.jpg")
    with (
        S3Proxy(ground.store.target) as elsewhere,
        elsewhere.failing(Refuse(500, "InternalError"), "GET", "HEAD") as asked,
        ground.store.failing(
            Refuse(307, "TemporaryRedirect", ((away[0], away[1].format(elsewhere.port)),)),
            "GET",
            place="photos",
        ) as struck,
    ):
        outcome = _first(ground, "redirected")
    assert (outcome.code, asked.struck) == ("storage_refused", 0)
    assert struck.struck == 1


def test_an_answer_of_two_gigabytes_is_not_read(open_ground: OpenGround) -> None:
    ground = open_ground(PLAIN)
    with ground.store.failing(Claim(2 * 2**30), "GET", place="photos"):
        outcome = _first(ground, "claimed")
    assert outcome.code == "source_too_large"
    assert "found 2,147,483,648" in (outcome.message or "")


def _first(ground: Ground, prefix: str) -> Outcome:
    load = Singles.of(ground, prefix, 1)
    load.send()
    return load.handles[0].wait(PATIENCE)
