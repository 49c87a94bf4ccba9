"""Jobs as text in the ledger, from which recovery sends lost jobs again.

If messages are signed, so are these texts: the process that sends a job again signs the new message
with its own key, and must not do so for a text that another program wrote into Redis.
"""

import json
import logging
from collections.abc import Mapping

from kombu.exceptions import KombuError
from kombu.serialization import dumps, loads

from producer.contract.errors import InvalidJob
from producer.contract.job import Job

log = logging.getLogger(__name__)

_SEAL = "signed"


def encode_job(job: Job, *, signed: bool) -> str:
    """Return a job as JSON; `signed` adds the same job as signed by Celery's `auth` serializer."""
    message = job.to_message()
    if signed:
        _, _, seal = dumps(message, serializer="auth")
        message[_SEAL] = seal if isinstance(seal, str) else seal.decode()
    return json.dumps(message)


def decode_jobs(texts: Mapping[str, str], *, signed: bool) -> dict[str, Job]:
    """Return the jobs by id.

    Those that another release or program wrote, or that lack a required signature, are left out
    and named in the log.
    """
    jobs = {}
    for job_id, text in texts.items():
        try:
            jobs[job_id] = _decode_job(text, job_id=job_id, signed=signed)
        except InvalidJob as error:
            log.warning("job %s cannot be sent again: %s", job_id, error)
    return jobs


def _decode_job(text: str, *, job_id: str, signed: bool) -> Job:
    """Return the job in a text.

    Raises `InvalidJob` if the text is not a job, has another id than `job_id`, or, with `signed`,
    lacks a trusted signature. The signed job counts then, not the plain one, which is there for
    Redis' scripts.
    """
    try:
        message = json.loads(text)
        seal = message.pop(_SEAL, None)
        if signed:
            if not isinstance(seal, str):
                raise InvalidJob("expected a signed job, found an unsigned one")
            message = loads(seal, "application/data", "utf-8", accept=["application/data"])
    except (AttributeError, KombuError, RecursionError, TypeError, ValueError) as error:
        raise InvalidJob(f"expected a job, found something else: {error}") from error
    job = Job.from_message(message)
    if job.id != job_id:
        raise InvalidJob(f"id: expected {job_id}, found {job.id}")
    return job
