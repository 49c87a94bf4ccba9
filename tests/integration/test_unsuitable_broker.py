"""A server that no producer or worker can use is named, with what to use instead."""

import re
from collections.abc import Iterator

import pytest
import redis

from deploy.local import LocalStack
from producer import BrokerUnavailable, Client, Options
from producer.cli.doctor import examine
from producer.config.settings import SettingsError
from worker.runtime.broker_check import check_broker

CLUSTER = "Redis Cluster is not supported"
OPTIONS = Options(enabled=False)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server in cluster mode, without slots."""
    with LocalStack(tmp_path_factory.mktemp("cluster")) as stack:
        stack.start_broker("--cluster-enabled", "yes")
        yield stack.broker_url
        stack.stop()


@pytest.fixture(params=["without slots", "with all slots"])
def any_cluster(cluster: str, request: pytest.FixtureRequest) -> str:
    with redis.Redis.from_url(cluster) as server:
        if request.param == "with all slots" and not server.execute_command("CLUSTER SLOTS"):
            server.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    return cluster


def first_finding(url: str) -> str:
    with Client(url) as client:
        finding = next(examine(client, read=[], write=[]))
    assert finding.ok is False
    return finding.text


def submit(url: str) -> str:
    with Client(url) as client, pytest.raises(BrokerUnavailable) as caught:
        client.submit("s3://photos/b.jpg", image="s3://cutouts/d.png", options=OPTIONS)
    return str(caught.value)


def start_worker(url: str) -> str:
    with pytest.raises(SettingsError, match=r"^CUTWORK_BROKER_URL: ") as caught:
        check_broker(url)
    return str(caught.value)


def test_a_cluster_is_refused_by_name(any_cluster: str) -> None:
    for use in (first_finding, submit, start_worker):
        assert CLUSTER in use(any_cluster)


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ((r"127\.0\.0\.1", "user:pass@127.0.0.1"), "correct user and password"),
        ((r"/1$", "/99"), "setting `databases`"),
    ],
)
def test_a_wrong_url_is_named(idle: Client, wrong: tuple[str, str], advice: str) -> None:
    url = re.sub(*wrong, idle.broker_url)
    for use in (first_finding, submit, start_worker):
        assert advice in use(url)
        assert "does not answer" not in use(url)


def test_a_worker_waits_for_a_server_that_does_not_answer() -> None:
    check_broker("redis://127.0.0.1:1/0")
