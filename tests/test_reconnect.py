"""A worker outlives its connections to the broker, whichever of them ends first."""

from pathlib import Path

import redis

from benchmarks.pictures import put_pictures
from deploy.child import Child
from deploy.local import LocalStack
from producer import Client


def test_the_connection_for_broadcasts_ends_first(tmp_path: Path) -> None:
    log = tmp_path / "standin.log"
    log.touch()
    with LocalStack(tmp_path) as stack:
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
            CUTWORK_STANDIN_SECONDS="2",
            CUTWORK_VISIBILITY_TIMEOUT="2",
        )
        stack.wait_for_worker(worker)
        with stack.client() as client:
            for number in (1, 2, 3):
                interrupted(client, worker, number, log)
        assert worker.running
        assert "Exception in thread" not in worker.log.read_text()


def interrupted(client: Client, worker: Child, number: int, log: Path) -> None:
    """Run a job, and have its worker lose its connections while the model runs."""
    seen = log.stat().st_size
    handle = client.submit("s3://photos/000000.jpg", image=f"s3://cutouts/{number}.png")
    # Then one thread is busy, and for the other one the broker is asked for a job.
    worker.wait_until(lambda: log.stat().st_size > seen, timeout=20)
    server: redis.Redis = client.runs.server
    with server.pipeline(transaction=True) as pipe:
        pipe.config_set("maxclients", 1)  # Nobody connects again at once.
        pipe.client_kill_filter(_type="pubsub")
        pipe.client_kill_filter(_type="normal", skipme=True)
        pipe.execute()
    lost = "Connection to broker lost"
    worker.wait_until(lambda: worker.log.read_text().count(lost) >= number, timeout=20)
    server.config_set("maxclients", 1000)
    assert handle.wait(60).state == "done"
