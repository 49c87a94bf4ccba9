"""Graceful shutdown: running jobs are finished, the others requeued, within the grace period."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.pictures import put_pictures
from deploy.child import Child
from deploy.local import LocalStack, free_ports
from producer import Client, Job
from producer.client import Handle
from producer.contract.s3_uri import ImageRef
from producer.store.deliveries import delivery_key
from tests.support.patience import PATIENCE
from tests.system.chaos.tcp_proxy import TcpProxy

Start = Callable[..., Child]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("drain")) as stack:
        stack.start_broker()
        stack.start_s3()
        for bucket in ("photos", "cutouts"):
            stack.s3().create_bucket(Bucket=bucket)
        put_pictures(stack.s3(), "photos", "", 4)
        yield stack


@pytest.fixture
def producer(own: LocalStack) -> Iterator[Client]:
    with own.client() as client:
        client.runs.server.flushdb()
        yield client


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "standin.log"
    path.touch()
    return path


@pytest.fixture
def start(own: LocalStack, log: Path) -> Start:
    """Return a function that starts a worker of two threads whose model takes a second."""

    def start(**variables: str) -> Child:
        child = own.start_worker(
            app="benchmarks.standin",
            CUTWORK_STANDIN="sleep",
            CUTWORK_STANDIN_LOG=str(log),
            CUTWORK_STANDIN_SECONDS=variables.pop("CUTWORK_STANDIN_SECONDS", "1"),
            concurrency=2,
            **variables,
        )
        own.wait_for_worker(child)
        return child

    return start


def submit(client: Client, count: int) -> list[Handle]:
    return client.submit_many(
        Job(
            source=ImageRef(bucket="photos", key=f"{number:06d}.jpg"),
            image=ImageRef(bucket="cutouts", key=f"{time.time()}-{number}.png"),
        )
        for number in range(count)
    )


def ends(child: Child, *signals: signal.Signals) -> int:
    for number in signals:
        child.signal(number)
        time.sleep(0.2)
    return child.wait(PATIENCE)


def test_running_jobs_are_finished_and_the_others_requeued(
    producer: Client, start: Start, log: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    child = start(CUTWORK_STANDIN_UNTIL=str(gate))
    handles = submit(producer, 4)
    # Two jobs run, of which one is in the model: a CPU takes one at a time.
    keys = [delivery_key(handle.id) for handle in handles]
    child.wait_until(lambda: producer.runs.server.exists(*keys) == 2, timeout=PATIENCE)
    child.signal(signal.SIGTERM)
    child.wait_until(lambda: "jobs requeued" in child.tail(), timeout=PATIENCE)
    gate.touch()
    assert child.wait(PATIENCE) == 0
    status = producer.status()
    done = [handle.outcome() for handle in handles if handle.outcome()]
    assert len(done) == log.stat().st_size == 2
    assert (status.waiting, status.in_flight) == (2, 0)


def test_everything_is_requeued_when_the_grace_period_is_over(
    producer: Client, start: Start, log: Path
) -> None:
    child = start(CUTWORK_GRACE="0.5", CUTWORK_STANDIN_SECONDS="30")
    handles = submit(producer, 3)
    child.wait_until(lambda: log.stat().st_size >= 1, timeout=PATIENCE)
    assert ends(child, signal.SIGTERM) == 1
    assert "0.5 s is over (CUTWORK_GRACE); " in child.tail()
    status = producer.status()
    assert (status.waiting, status.in_flight) == (3, 0)
    # Requeued deliveries do not count towards `CUTWORK_MAX_DELIVERIES`.
    counts = [producer.runs.server.hget(delivery_key(handle.id), "number") for handle in handles]
    assert set(counts) <= {"0", None}


def test_a_job_that_is_stuck_for_the_whole_grace_period_stays_counted(
    producer: Client, start: Start, log: Path
) -> None:
    """The others, of which one waits for the device, were merely interrupted."""
    child = start(CUTWORK_GRACE="1", CUTWORK_STAGE_TIMEOUT="5", CUTWORK_STANDIN_SECONDS="600")
    handles = submit(producer, 3)
    child.wait_until(lambda: log.stat().st_size >= 1, timeout=PATIENCE)
    assert ends(child, signal.SIGTERM) == 1
    assert "this delivery counts as failed, at the stage model" in child.tail()
    found = [producer.runs.server.hgetall(delivery_key(handle.id)) for handle in handles]
    assert sorted(one.get("number", "0") for one in found) == ["0", "0", "1"]
    assert [one["stage"] for one in found if one.get("number") == "1"] == ["model"]
    assert producer.status().waiting == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_grace_period(
    producer: Client, start: Start, log: Path, number: signal.Signals
) -> None:
    child = start(CUTWORK_GRACE="600", CUTWORK_STANDIN_SECONDS="30")
    submit(producer, 1)
    child.wait_until(lambda: log.stat().st_size >= 1, timeout=PATIENCE)
    assert ends(child, number, number) == 1
    assert "a second signal; 1 jobs requeued" in child.tail()
    assert "Unrecoverable" not in child.tail()
    assert producer.status().waiting == 1


def test_a_silent_broker_does_not_extend_the_grace_period(
    own: LocalStack, producer: Client, start: Start, log: Path
) -> None:
    with TcpProxy(int(own.broker_url.rpartition(":")[2].partition("/")[0])) as network:
        child = start(
            CUTWORK_GRACE="1",
            CUTWORK_STANDIN_SECONDS="60",
            CUTWORK_BROKER_TIMEOUT="60",
            CUTWORK_BROKER_URL=f"redis://127.0.0.1:{network.port}/0",
        )
        submit(producer, 1)
        child.wait_until(lambda: log.stat().st_size >= 1, timeout=PATIENCE)
        network.black_hole()
        assert ends(child, signal.SIGTERM) == 1
        network.heal()
    # It could not be requeued, so the broker redelivers it after the visibility timeout.
    assert producer.status().in_flight == 1


def test_a_job_may_take_longer_than_the_visibility_timeout(
    producer: Client, start: Start, log: Path
) -> None:
    """While its worker lives the job is neither redelivered nor counted as poison."""
    patient = {"CUTWORK_VISIBILITY_TIMEOUT": "2", "CUTWORK_STANDIN_SECONDS": "6"}
    children = [start(**patient), start(**patient)]
    (handle,) = submit(producer, 1)
    outcome = handle.wait(PATIENCE)
    assert (outcome.state, log.stat().st_size) == ("done", 1)
    for child in children:
        child.stop(grace=0)


def test_no_delayed_retry_is_dropped(producer: Client, start: Start) -> None:
    child = start(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{free_ports(1)[0]}",
        CUTWORK_S3_ATTEMPTS="1",
        CUTWORK_MAX_ATTEMPTS="20",
    )
    submit(producer, 40)
    child.wait_until(lambda: child.log.read_text().count(", attempt ") >= 60, timeout=PATIENCE)
    assert ends(child, signal.SIGTERM) == 0
    assert "dropped" not in child.log.read_text()
    status = producer.status()
    assert (status.waiting, status.in_flight) == (40, 0)


def test_a_delayed_retry_is_requeued_at_once(
    own: LocalStack, producer: Client, start: Start, log: Path
) -> None:
    """A retry does not wait until the running jobs are finished."""
    child = start(
        CUTWORK_GRACE="600",
        CUTWORK_STANDIN_SECONDS="600",
        CUTWORK_S3_ATTEMPTS="1",
        CUTWORK_S3_READ_TIMEOUT="1",
        CUTWORK_MAX_ATTEMPTS="20",
    )
    submit(producer, 1)
    child.wait_until(lambda: log.stat().st_size >= 1, timeout=PATIENCE)
    s3 = next(item for item in own._children if item.name == "s3")
    s3.signal(signal.SIGSTOP)
    try:
        submit(producer, 1)
        child.wait_until(lambda: "attempt 1: storage_unavailable" in child.tail(), timeout=PATIENCE)
        # The worker keeps the delayed retry until it is due.
        child.wait_until(lambda: child.tail(9000).count(" received") == 3, timeout=PATIENCE)
        child.signal(signal.SIGTERM)
        child.wait_until(lambda: "1 waiting jobs requeued" in child.tail(), timeout=PATIENCE)
        assert producer.status().waiting == 1
        assert child.running
    finally:
        s3.signal(signal.SIGCONT)
    child.stop(grace=0)
