"""Target: the raw bytes of a queue, as a worker reads them, and of outcomes, as a producer does.

The expected errors of each parser are a pass; anything else is a finding.
"""

import json
import sys
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["producer", "worker.broker.message_schema", "kombu"]):
    from kombu import Connection
    from kombu.utils.json import loads
    from pydantic import ValidationError

    from producer.contract.errors import InvalidJob
    from producer.contract.job import Job
    from producer.contract.outcome import Outcome
    from worker.broker.kombu_patches import UNREADABLE, Message
    from worker.broker.message_schema import check

CHANNEL = Connection("memory://").channel()
CHANNEL.reading_queue = True  # type: ignore[attr-defined]  # set by `worker.broker.kombu_patches`


def fuzz_one(data: bytes) -> None:
    """Read an input as a queue entry, as a job and as an outcome."""
    message = None
    with suppress(*UNREADABLE):
        message = Message(loads(data.decode()), channel=CHANNEL, accept={"json"})
    if message is not None:
        _entry(message)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    _job(value)
    with suppress(ValidationError):
        Outcome.model_validate(value).to_message()


def _entry(message: Message) -> None:
    try:
        payload = message.payload
    except Exception:  # noqa: BLE001 - as in `worker.broker.celery_patches`, where the message is refused
        return
    try:
        check(headers=message.headers, properties=message.properties, body=payload)
    except ValueError:
        return
    for value in payload[0]:
        _job(value)


def _job(value: object) -> None:
    with suppress(InvalidJob):
        job = Job.from_message(value)
        if Job.from_message(json.loads(json.dumps(job.to_message()))) != job:
            raise AssertionError("expected a job to survive the round trip through its message")


if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzz_one)
    atheris.Fuzz()
