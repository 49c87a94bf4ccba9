"""Messages of other releases among the good ones, and one that ends whoever takes it."""

import io
import time
from typing import Final

from PIL import Image

from producer import Job, Outcome
from producer.contract.job import QUEUE, TASK_NAME
from producer.contract.s3_uri import ImageRef
from producer.store.ledger import Ledger
from tests.system.chaos.ground import GUARD_SECONDS, Broken, Ground, Terrain
from tests.system.chaos.load import Singles
from tests.system.chaos.rounds import Fault


def _other_formats(ground: Ground, load: Singles) -> None:
    """An older and a newer job, a newer option, and messages of an older Celery."""
    prefix = load.items[0].image.split("/image/")[0].replace("/", "-")
    good = load.jobs[0].to_message()
    others: dict[str, object] = {
        f"{prefix}-old": {"src": "s3://photos/in/000000.jpg", "dst": "s3://cutouts/x.png"},
        f"{prefix}-version-0": {**good, "version": 0, "id": f"{prefix}-version-0"},
        f"{prefix}-future": {**good, "version": 2, "id": f"{prefix}-future", "sources": []},
        f"{prefix}-option": {**good, "id": f"{prefix}-option", "options": {"aura": 1}},
    }
    for task_id, message in others.items():
        ground.client.app.send_task(TASK_NAME, args=[message], task_id=task_id, queue=QUEUE)
    # Celery's protocol 1, and what is no message at all.
    ground.server.lpush(QUEUE, b'{"task": "cutwork.segment", "id": "1", "args": []}', b"\x80")
    load.send()
    for task_id in others:
        _expect(ground, task_id, "malformed_message")


def _poison(ground: Ground, load: Singles) -> None:
    """A grey picture kills the stand-in's process wherever it is delivered."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(buffer, "PNG")
    ground.s3.put_object(Bucket="photos", Key="poison.png", Body=buffer.getvalue())
    job = Job(
        source=ImageRef(bucket="photos", key="poison.png"),
        image=ImageRef(bucket="cutouts", key=f"{load.items[0].image}.poison"),
    )
    ground.client.submit_many([job])
    load.send()
    deadline = time.monotonic() + GUARD_SECONDS
    while _outcome(ground, job.id) is None and time.monotonic() < deadline:
        ground.wait_for_workers()
        time.sleep(0.05)
    _expect(ground, job.id, "poison")


def _expect(ground: Ground, job_id: str, code: str) -> None:
    deadline = time.monotonic() + GUARD_SECONDS
    while (outcome := _outcome(ground, job_id)) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    found = outcome.code if outcome else "no outcome"
    if found != code:
        raise Broken(f"expected {code} of {job_id}, found {found}")


def _outcome(ground: Ground, job_id: str) -> Outcome | None:
    ledger = Ledger(ground.stack.broker_url)
    try:
        return ledger.read_outcomes([job_id]).get(job_id)
    finally:
        ledger.close()


FAULTS: Final = (
    Fault(
        name="other-formats",
        what="old-format and future-format messages among the good ones",
        strike=_other_formats,
    ),
    Fault(
        name="poison",
        what="a message that kills every worker that takes it, beside others",
        strike=_poison,
        # All of them are in the one worker that dies each time.
        terrain=Terrain(workers=1, concurrency=4),
        patience=60,
    ),
)
