"""A real worker whose device hangs ends, logs the reason and acknowledges nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.child import Child
from deploy.local import LocalStack
from producer import Client, Options
from producer.contract.job import QUEUE
from producer.store.deliveries import delivery_key
from tests.support.jobs import run
from tests.support.patience import PATIENCE
from tests.support.tiny_models import channel_mean, endless
from worker.models.watchdog import EXIT_CODE

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def own_client(stack: LocalStack) -> Iterator[Client]:
    """A producer for a separate database, so that no other worker takes the jobs."""
    with Client(stack.broker_url.removesuffix("/0") + "/2") as client:
        client.runs.server.flushdb()
        yield client
        client.runs.server.flushdb()


@pytest.fixture
def impatient_worker(stack: LocalStack, own_client: Client, tmp_path: Path) -> Iterator[Child]:
    """A worker with a device timeout of two seconds."""
    child = stack.start_worker(
        concurrency=2,
        CUTWORK_BROKER_URL=stack.broker_url.removesuffix("/0") + "/2",
        CUTWORK_MODELS_FROM="s3://models",
        CUTWORK_MODEL_CACHE=str(tmp_path / "models"),
        CUTWORK_DEVICE_TIMEOUT="2",
    )
    stack.wait_for_worker(child)
    yield child
    child.stop(grace=0)


def test_a_model_that_hangs_ends_the_worker_and_its_jobs_are_requeued(
    stack: LocalStack, own_client: Client, impatient_worker: Child, tmp_path: Path
) -> None:
    s3 = stack.s3()
    s3.upload_file(str(channel_mean(tmp_path / "mean.onnx")), "models", "hang/mean.onnx")
    s3.upload_file(str(endless(tmp_path / "endless.onnx")), "models", "hang/endless.onnx")

    def places(number: int, model: str) -> dict[str, Any]:
        return {
            "mask": f"s3://cutouts/hang-{number}.png",
            "options": Options(model=f"s3://models/hang/{model}.onnx"),
        }

    assert run(own_client, "s3://photos/rocket.jpg", **places(0, "mean")).state == "done"
    # A loaded model does not need its files; deleted files are fetched again.
    for path in (tmp_path / "models").rglob("*.onnx"):
        path.unlink()
    assert run(own_client, "s3://photos/rocket.jpg", **places(1, "mean")).state == "done"

    handles = [own_client.submit("s3://photos/rocket.jpg", **places(n, "endless")) for n in (2, 3)]
    assert impatient_worker.wait(PATIENCE) == EXIT_CODE
    log = impatient_worker.tail(20_000)
    (line,) = (line for line in log.splitlines() if "CRITICAL" in line)
    assert (
        "s3://models/hang/endless.onnx, a batch of 1 on cpu, has not answered for 2 s "
        "(CUTWORK_DEVICE_TIMEOUT): it hangs. This process ends with code 70; its jobs are "
        "unacknowledged, and go back to the queue" in line
    )
    # Both are next in the queue, and their deliveries remain counted.
    waiting: Any = own_client.runs.server.lrange(f"{QUEUE}:3", 0, -1)
    ids = {json.loads(message)["headers"]["id"] for message in waiting}
    assert ids == {handle.job.id for handle in handles}
    counts = [own_client.runs.server.hgetall(delivery_key(name)) for name in ids]
    assert [(count["number"], count["at"]) for count in counts] == [("1", "0")] * 2
    assert [handle.outcome() for handle in handles] == [None, None]
