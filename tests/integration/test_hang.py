"""A real worker whose device or decoder hangs ends, logs the reason and acknowledges nothing."""

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deploy.child import Child
from deploy.local import LocalStack
from producer import Client, Options
from producer.client import Handle
from producer.contract.job import QUEUE
from producer.store.deliveries import delivery_key
from tests.support.hanging_decoder import HANGS, SLOW
from tests.support.hostile.checkpoints import archive, entry, nested_tuples
from tests.support.hostile.icc import picture, profiles
from tests.support.jobs import run
from tests.support.patience import PATIENCE
from tests.support.tiny_models import channel_mean, endless
from tests.support.watched import Watched
from worker.models.process_end import EXIT_CODE

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
    # Both are in the queue again, and their deliveries remain counted.
    waiting: Any = own_client.runs.server.lrange(f"{QUEUE}:3", 0, -1)
    ids = {json.loads(message)["headers"]["id"] for message in waiting}
    assert ids == {handle.job.id for handle in handles}
    counts = [own_client.runs.server.hgetall(delivery_key(name)) for name in ids]
    assert [(count["number"], count["at"]) for count in counts] == [("1", "0")] * 2
    assert [handle.outcome() for handle in handles] == [None, None]


@pytest.fixture
def start(stack: LocalStack, own_client: Client) -> Iterator[Callable[..., Watched]]:
    """Return a function that starts a worker of two threads whose decoder hangs at some images."""
    with ExitStack() as ending:

        def started(**variables: str) -> Watched:
            watched = Watched(
                stack,
                app="tests.support.hanging_decoder",
                CUTWORK_BROKER_URL=own_client.broker_url,
                CUTWORK_MAX_DELIVERIES="1",
                **variables,
            )
            ending.callback(watched.child.stop, grace=0)
            stack.wait_for_worker(watched.child)
            return watched

        yield started


def test_jobs_that_hang_in_a_stage_hold_up_no_others_and_end_as_poison(
    stack: LocalStack, own_client: Client, start: Callable[..., Watched]
) -> None:
    for name, width in (("hangs", HANGS), ("slow", SLOW), ("good", 60)):
        data = io.BytesIO()
        Image.new("RGB", (width, 48)).save(data, "PNG")
        stack.s3().put_object(Bucket="photos", Key=f"hang/{name}.png", Body=data.getvalue())

    def submit(name: str, number: int = 0) -> Handle:
        return own_client.submit(
            f"s3://photos/hang/{name}.png",
            image=f"s3://cutouts/hang-{name}-{number}.png",
            options=Options(enabled=False),
        )

    watched = start(CUTWORK_STAGE_TIMEOUT="4")
    slow = submit("slow").wait(PATIENCE)
    assert (slow.state, slow.code) == ("failed", "stage_timeout")
    assert "the stage decode to end within 4 s" in (slow.message or "")

    culprits = [submit("hangs", number) for number in range(2)]
    keys = [delivery_key(handle.id) for handle in culprits]
    watched.child.wait_until(lambda: own_client.runs.server.exists(*keys) == 2, timeout=PATIENCE)
    good = submit("good")
    failures = set()
    while watched.child.running:
        answer = watched.get("/healthz")
        failures |= {answer.checks["stages"]["found"]} if answer.status == 503 else set()
        time.sleep(0.02)
    # Fewer if the process ended between two probes.
    expected = {f"job {handle.id}: the stage decode has not ended in time" for handle in culprits}
    assert failures <= expected
    assert watched.child.wait(PATIENCE) == EXIT_CODE
    assert "the stage decode has not ended within 6 s, 1.5 times" in watched.child.tail(20_000)
    # The culprits are counted, and behind the innocent job.
    waiting: Any = own_client.runs.server.lrange(f"{QUEUE}:3", 0, -1)
    assert json.loads(waiting[-1])["headers"]["id"] == good.id
    assert len(waiting) == 3
    assert [own_client.runs.server.hget(key, "number") for key in keys] == ["1", "1"]

    start()
    assert good.wait(PATIENCE).state == "done"
    for handle in culprits:
        outcome = handle.wait(PATIENCE)
        assert outcome.code == "poison"
        assert "the last one at the stage decode" in (outcome.message or "")


def test_two_hostile_pictures_and_a_checkpoint_hold_up_no_other_job(
    stack: LocalStack, own_client: Client, tmp_path: Path
) -> None:
    """The picture's profile would keep a thread busy for minutes, and the checkpoint for ever."""
    s3 = stack.s3()
    mode, profile = profiles()["steps-L-D2B0"]
    s3.put_object(Bucket="photos", Key="hang/icc.png", Body=picture(mode, profile, "PNG"))
    s3.put_object(Bucket="models", Key="hang/tuples.pth", Body=archive(entry(nested_tuples())))
    worker = stack.start_worker(
        concurrency=2,
        CUTWORK_BROKER_URL=own_client.broker_url,
        CUTWORK_MODELS_FROM="s3://models",
        CUTWORK_MODEL_CACHE=str(tmp_path / "models"),
    )
    stack.wait_for_worker(worker)

    def submit(source: str, number: int, **options: Any) -> Handle:
        place = f"s3://cutouts/hostile-{number}.png"
        return own_client.submit(f"s3://photos/{source}", image=place, options=Options(**options))

    pictures = [submit("hang/icc.png", number, enabled=False) for number in range(2)]
    checkpoint = submit("rocket.jpg", 2, model="s3://models/hang/tuples.pth")
    good = submit("rocket.jpg", 3, enabled=False)
    assert good.wait(PATIENCE).state == "done"
    for handle in pictures:
        outcome = handle.wait(PATIENCE)
        assert outcome.state == "done"
        assert any("profile" in warning for warning in outcome.warnings)
    assert checkpoint.wait(PATIENCE).code == "model_invalid"
    assert worker.running
    worker.stop(grace=0)
