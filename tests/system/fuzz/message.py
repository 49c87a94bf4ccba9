"""Target: the raw bytes of a queue, as a worker reads them, and of outcomes, as a producer does.

The expected errors of each parser are a pass; anything else is a finding.
"""

import json
import sys
from contextlib import suppress
from typing import Any

import atheris

with atheris.instrument_imports(include=["producer", "worker.broker", "kombu", "celery.canvas"]):
    from celery import Celery
    from celery.app.task import Context
    from celery.canvas import maybe_signature
    from kombu import Connection
    from kombu.utils.json import loads
    from pydantic import ValidationError

    from producer.contract.errors import InvalidJob
    from producer.contract.job import Job
    from producer.contract.outcome import Outcome
    from worker.broker.kombu_message import UNREADABLE, Message, check_length, keep_typed_values
    from worker.broker.message_schema import check, normalize

APP = Celery("fuzz")
# `celeryconfig.py` of this folder names Redis.
APP.conf.update(
    broker_url="memory://", result_backend="cache+memory://", broker_transport_options={}
)
keep_typed_values()
CHANNEL = Connection("memory://").channel()
CHANNEL.reading_jobs = True  # type: ignore[attr-defined]  # set by `worker.broker.kombu_patches`


def fuzz_one(data: bytes) -> None:
    """Read an input as a queue entry, as a message's parts, as a job and as an outcome."""
    message = None
    with suppress(*UNREADABLE):
        check_length(data)
        message = Message(loads(data.decode()), channel=CHANNEL, accept={"json"})
    if message is not None:
        _entry(message)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict) and isinstance(value.get("headers"), dict):
        _parts(value["headers"], value.get("properties"), value.get("body"))
    _job(value)
    with suppress(ValidationError):
        Outcome.model_validate(value).to_message()


def _entry(message: Message) -> None:
    try:
        payload = message.payload
    except Exception:  # noqa: BLE001 - as in `worker.broker.celery_patches`, where the message is refused
        return
    _parts(message.headers, message.properties, payload)


def _parts(headers: dict[str, Any], properties: object, body: Any) -> None:
    try:
        check(headers=headers, properties=properties, body=body)
        normalize(headers)
    except (ValueError, RecursionError):
        return
    Context(headers, **body[2] or {})
    _send_what_follows(body[2] or {})
    for value in body[0]:
        _job(value)


def _send_what_follows(embed: dict[str, Any]) -> None:
    """Do with the signatures of an accepted message what Celery does after its job."""
    for name in ("callbacks", "errbacks", "chain", "chord"):
        value = embed.get(name) or ()
        for signature in [value] if isinstance(value, dict) else value:
            build: Any = maybe_signature
            build(signature, app=APP).apply_async(({},))


def _job(value: object) -> None:
    with suppress(InvalidJob):
        job = Job.from_message(value)
        if Job.from_message(json.loads(json.dumps(job.to_message()))) != job:
            raise AssertionError("expected a job to survive the round trip through its message")


if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzz_one)
    atheris.Fuzz()
