"""Runs on a broker without workers, where the test takes messages and records outcomes."""

import base64
import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

from producer import Client, Job, Outcome
from producer.contract.job import BULK_PRIORITY, QUEUE
from producer.contract.outcome import OutputFacts, RunFacts, SourceFacts
from producer.contract.run import RunSpec
from producer.contract.s3_uri import ImageRef
from producer.sync.feeder import Feeder
from producer.sync.plan.step import Plan, Step, Verdict
from tests.support.patience import PATIENCE

SPEC = RunSpec(source="s3://photos/in/", image="s3://cutouts/out/")
BULK = f"{QUEUE}:{BULK_PRIORITY}"


def plan_of(*verdicts: str) -> Plan:
    """Return a plan of inputs numbered from 0, one per verdict; the number is the cursor."""

    def plan(cursor: str) -> Generator[Step, None, None]:
        for number in range(int(cursor or -1) + 1, len(verdicts)):
            yield Step(
                cursor=str(number),
                verdict=cast(Verdict, verdicts[number]),
                source=ImageRef(bucket="photos", key=f"in/{number}.jpg"),
                etag=f"etag{number}",
                bytes=100,
                image=ImageRef(bucket="cutouts", key=f"out/{number}.png"),
                reason="missing" if verdicts[number] == "send" else "name_conflict",
            )

    return plan


def feeder_of(client: Client, plan: Plan, *, spec: RunSpec = SPEC, **values: Any) -> Feeder:
    return Feeder(
        spec=spec,
        plan=plan,
        app=client.app,
        ledger=client.runs,
        command="cutwork sync",
        **{"window": 100, "trial_jobs": None, **values},
    )


@contextmanager
def feeding(feeder: Feeder) -> Iterator[threading.Thread]:
    """Run a feeder in a thread; it is stopped at the end of the block."""
    thread = threading.Thread(target=feeder.feed)
    thread.start()
    try:
        yield thread
    finally:
        feeder.stopping.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def job_in(message: str) -> Job:
    (job, *_), *_ = json.loads(base64.b64decode(json.loads(message)["body"]))
    return Job.from_message(job)


def waiting(client: Client) -> list[Job]:
    """Return the queued jobs, the next one first."""
    messages: Any = client.runs.server.lrange(BULK, 0, -1)
    return [job_in(message) for message in reversed(messages)]


def answer(client: Client, count: int, **facts: Any) -> list[Job]:
    """Take up to `count` messages and record outcomes, as a worker does; return their jobs."""
    jobs = []
    for _ in range(count):
        message: Any = client.runs.server.rpop(BULK)
        if message is None:
            break
        jobs.append(job_in(message))
        assert client.runs.record_outcome(outcome_of(jobs[-1], **facts))
    return jobs


def outcome_of(job: Job, *, state: str = "done", seconds: float = 1, **facts: Any) -> Outcome:
    source = SourceFacts(ref=job.source, etag="etag", bytes=10, size=(20, 30))
    done: dict[str, Any] = {}
    if state == "done" and job.image:
        done = {
            "image": OutputFacts(ref=job.image, bytes=7),
            "foreground_share": 0.5,
            "run": RunFacts(
                model="m", sha256="0", engine="e", provider="p", device="cpu", dtype="float32"
            ),
            "seconds": {"model": seconds / 2, "total": seconds},
        }
    return Outcome.model_validate(
        {"job_id": job.id, "state": state, "source": source, "worker": "w1", **done, **facts}
    )
