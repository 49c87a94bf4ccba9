"""Messages of other releases among valid ones, and a poison message."""

import io
import time
from typing import Final

from PIL import Image

from producer import Job, Outcome
from producer.contract.job import QUEUE, TASK_NAME
from producer.contract.s3_uri import ImageRef
from producer.store.ledger import Ledger
from tests.system.chaos.cluster import GUARD_SECONDS, Cluster, ClusterSpec, UnexpectedState
from tests.system.chaos.load import Singles
from tests.system.chaos.rounds import Fault


def _other_formats(cluster: Cluster, load: Singles) -> None:
    """Send jobs of an older and a newer format, an unknown option and foreign messages."""
    prefix = load.items[0].image.split("/image/")[0].replace("/", "-")
    good = load.jobs[0].to_message()
    others: dict[str, object] = {
        f"{prefix}-old": {"src": "s3://photos/in/000000.jpg", "dst": "s3://cutouts/x.png"},
        f"{prefix}-version-0": {**good, "version": 0, "id": f"{prefix}-version-0"},
        f"{prefix}-future": {**good, "version": 2, "id": f"{prefix}-future", "sources": []},
        f"{prefix}-option": {**good, "id": f"{prefix}-option", "options": {"aura": 1}},
    }
    for task_id, message in others.items():
        cluster.client.app.send_task(TASK_NAME, args=[message], task_id=task_id, queue=QUEUE)
    # A message of Celery's protocol 1, and one that is not a message.
    cluster.server.lpush(QUEUE, b'{"task": "cutwork.segment", "id": "1", "args": []}', b"\x80")
    load.send()
    for task_id in others:
        _expect(cluster, task_id, "malformed_message")


def _poison(cluster: Cluster, load: Singles) -> None:
    """Submit a grey image, which kills the stand-in's process at every delivery."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(buffer, "PNG")
    cluster.s3.put_object(Bucket="photos", Key="poison.png", Body=buffer.getvalue())
    job = Job(
        source=ImageRef(bucket="photos", key="poison.png"),
        image=ImageRef(bucket="cutouts", key=f"{load.items[0].image}.poison"),
    )
    cluster.client.submit_many([job])
    load.send()
    deadline = time.monotonic() + GUARD_SECONDS
    while _outcome(cluster, job.id) is None and time.monotonic() < deadline:
        cluster.wait_for_workers()
        time.sleep(0.05)
    _expect(cluster, job.id, "poison")


def _expect(cluster: Cluster, job_id: str, code: str) -> None:
    deadline = time.monotonic() + GUARD_SECONDS
    while (outcome := _outcome(cluster, job_id)) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    actual = outcome.code if outcome else "no outcome"
    if actual != code:
        raise UnexpectedState(f"expected {code} of {job_id}, found {actual}")


def _outcome(cluster: Cluster, job_id: str) -> Outcome | None:
    ledger = Ledger(cluster.stack.broker_url)
    try:
        return ledger.read_outcomes([job_id]).get(job_id)
    finally:
        ledger.close()


FAULTS: Final = (
    Fault(
        name="other-formats",
        what="old-format and future-format messages among the good ones",
        inject=_other_formats,
    ),
    Fault(
        name="poison",
        what="a message that kills every worker that takes it, among others",
        inject=_poison,
        # The only worker dies at each delivery, with the other jobs in it.
        spec=ClusterSpec(workers=1, concurrency=4),
        patience=60,
    ),
)
