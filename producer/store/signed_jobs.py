"""A job's text in the ledger, from which whoever finds it lost sends it again.

Where messages are signed so is that text: who sends a job again signs it anew, and must not lend
its name to whatever somebody wrote into Redis.
"""

import json

from kombu.exceptions import KombuError
from kombu.serialization import dumps, loads

from producer.contract.job import InvalidJob, Job

_SEAL = "signed"


def encode_job(job: Job, *, signed: bool) -> str:
    """The text of a job; `signed` adds the same once more as Celery's `auth` signs it."""
    message = job.to_message()
    if signed:
        _, _, seal = dumps(message, serializer="auth")
        message[_SEAL] = seal if isinstance(seal, str) else seal.decode()
    return json.dumps(message)


def decode_job(text: str, *, name: str, signed: bool) -> Job:
    """The job of that id in a text; `InvalidJob` if it is none, or `signed` and nobody's we know.

    What is signed counts, not what stands beside it for Redis' own scripts.
    """
    try:
        message = json.loads(text)
        seal = message.pop(_SEAL, None)
        if signed:
            if not isinstance(seal, str):
                raise InvalidJob("expected a signed job, found one that is not")
            message = loads(seal, "application/data", "utf-8", accept=["application/data"])
    except (AttributeError, KombuError, RecursionError, TypeError, ValueError) as error:
        raise InvalidJob(f"expected a job, found a text that is none: {error}") from error
    job = Job.from_message(message)
    if job.id != name:
        raise InvalidJob(f"id: expected {name}, found {job.id}")
    return job
