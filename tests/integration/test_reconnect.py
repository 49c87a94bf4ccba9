"""A worker reconnects, whichever of its connections to the broker breaks first."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import redis

from benchmarks.pictures import put_pictures
from deploy.child import Child
from deploy.local import LocalStack, free_ports
from producer import Client
from tests.support.patience import PATIENCE


class Bench(NamedTuple):
    """A client and a worker of two threads, whose model runs until the gate exists."""

    client: Client
    worker: Child
    log: Path
    gate: Path

    @property
    def server(self) -> redis.Redis:
        server: redis.Redis = self.client.runs.server
        return server

    def count_connections(self) -> int:
        """Return how many connections the broker has accepted since its start."""
        return int(self.server.info("stats")["total_connections_received"])

    def count_in_log(self, text: str) -> int:
        return self.worker.log.read_text().count(text)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("reconnect")
    log = folder / "standin.log"
    log.touch()
    gate = folder / "gate"
    with LocalStack(folder) as stack:
        stack.start_broker()
        stack.start_s3()
        for bucket in ("photos", "cutouts"):
            stack.s3().create_bucket(Bucket=bucket)
        put_pictures(stack.s3(), "photos", "", 1)
        worker = stack.start_worker(
            app="benchmarks.standin",
            concurrency=2,
            CUTWORK_STANDIN="sleep",
            CUTWORK_STANDIN_LOG=str(log),
            CUTWORK_STANDIN_UNTIL=str(gate),
            CUTWORK_VISIBILITY_TIMEOUT="2",
        )
        stack.wait_for_worker(worker)
        with stack.client() as client:
            yield Bench(client, worker, log, gate)
        assert worker.running
        assert "Exception in thread" not in worker.log.read_text()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_connection_for_broadcasts_may_break_first(bench: Bench, number: int) -> None:
    size, lost = bench.log.stat().st_size, "Connection to broker lost"
    before = bench.count_in_log(lost)
    bench.gate.unlink(missing_ok=True)
    handle = bench.client.submit("s3://photos/000000.jpg", image=f"s3://cutouts/{number}.png")
    # Now one thread is busy, and the worker waits for a job for the other one.
    bench.worker.wait_until(lambda: bench.log.stat().st_size > size, timeout=PATIENCE)
    with bench.server.pipeline(transaction=True) as pipe:
        pipe.config_set("maxclients", 1)  # The worker cannot reconnect at once.
        pipe.client_kill_filter(_type="pubsub")
        pipe.client_kill_filter(_type="normal", skipme=True)
        pipe.execute()
    bench.worker.wait_until(lambda: bench.count_in_log(lost) > before, timeout=PATIENCE)
    bench.server.config_set("maxclients", 1000)
    bench.gate.touch()
    assert handle.wait(PATIENCE).state == "done"


def test_a_read_only_broker_leaks_no_sockets(bench: Bench) -> None:
    process = psutil.Process(bench.worker.pid)
    before, connections = process.num_fds(), bench.count_connections()
    bench.server.replicaof("127.0.0.1", free_ports(1)[0])
    bench.worker.wait_until(lambda: bench.count_connections() > connections + 40, timeout=PATIENCE)
    bench.server.replicaof("NO", "ONE")
    handle = bench.client.submit("s3://photos/000000.jpg", image="s3://cutouts/later.png")
    assert handle.wait(PATIENCE).state == "done"
    assert process.num_fds() < before + 10
