"""Outcomes of messages that end before, or outside of, the task.

The patches of kombu and Celery exist before the worker's state does, and in processes that have no
such state, such as `celery inspect`. They therefore write through this module's one object, which
the worker attaches to its state at the start.
"""

import logging
import socket
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import redis
from kombu.exceptions import KombuError

from producer.contract.job import JOB_ID
from producer.contract.outcome import Outcome, cancelled_outcome
from worker.errors import InternalError, MalformedMessage

log = logging.getLogger(__name__)

BROKER_ERRORS: Final = (redis.RedisError, KombuError, OSError)
"""What a command raises if the broker does not answer, or refuses it."""
REVOKED: Final = "Celery's revoke named this job"


class Recorder(Protocol):
    """The state of a worker, as far as early outcomes need it."""

    signed: bool
    """Whether messages without a valid signature are refused."""

    def record(self, outcome: Outcome) -> None:
        """Store, count and log an outcome; raises one of `BROKER_ERRORS`."""

    def revoke(self, job_id: str, reason: str) -> None:
        """Prevent a job from beginning on any worker; raises one of `BROKER_ERRORS`."""

    def is_settled(self, tag: str) -> bool:
        """Return whether a delivery's outcome is stored, or its job was sent again."""

    def is_stopping(self) -> bool:
        """Return whether the worker takes no more jobs."""


class EarlyOutcomes:
    """Records early outcomes, once `recorder` is set; before that, they are only logged."""

    recorder: Recorder | None = None

    def refuse_entry(self, payload: object, reason: str) -> None:
        """Fail the job whose id a refused queue entry names, if it can be read.

        Where messages are signed, nothing is known to be true about such an entry, and it must not
        end another sender's job.
        """
        headers = payload.get("headers") if isinstance(payload, dict) else None
        job_id = headers.get("id") if isinstance(headers, dict) else None
        if self.recorder is not None and not self.recorder.signed:
            self._try_record(job_id, MalformedMessage.code, reason)

    def refuse_message(self, headers: object, body: object, reason: str) -> None:
        """Fail the job of a message that was decoded but is not valid."""
        args = body[0] if isinstance(body, list | tuple) and body else None
        job_id = claimed_id(args)
        if job_id is None and self.recorder is not None and not self.recorder.signed:
            job_id = headers.get("id") if isinstance(headers, dict) else None
        self._try_record(job_id, MalformedMessage.code, reason)

    def fail_delivery(self, message: Any, body: object) -> bool:
        """Give a delivery on which Celery has failed an outcome, unless it has one.

        Return whether the message is to be acknowledged; otherwise it is to be requeued, because
        the worker stops or the outcome could not be stored.
        """
        if self.recorder is None or self.is_settled(message):
            return True
        if self.recorder.is_stopping():
            return False
        args = body[0] if isinstance(body, list | tuple) and body else None
        job_id = claimed_id(args) or message.headers.get("id")
        return self._try_record(job_id, InternalError.code, internal_error())

    def is_settled(self, message: Any) -> bool:
        """Return whether the outcome of a delivery is stored, or its job was sent again."""
        return self.recorder is not None and self.recorder.is_settled(str(message.delivery_tag))

    def cancel(self, job_id: str, reason: str) -> None:
        """Store the outcome `cancelled`; raises one of `BROKER_ERRORS`."""
        if self.recorder is not None:
            self.recorder.record(cancelled_outcome(job_id, reason))

    def revoke(self, job_ids: Iterable[object]) -> None:
        """Cancel jobs in the ledger, too, so that Celery's revoke outlasts this process."""
        for job_id in job_ids:
            if self.recorder is None or not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
                continue
            try:
                self.recorder.revoke(job_id, REVOKED)
            except BROKER_ERRORS as error:
                log.warning("job %s: it could not be cancelled: %s", job_id, error)

    def _try_record(self, job_id: object, code: str, message: str) -> bool:
        """Store a failure; return whether that is done, or impossible because no job is named."""
        if self.recorder is None or not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
            return True
        outcome = Outcome(job_id=job_id, state="failed", code=code, message=message)
        try:
            self.recorder.record(outcome)
        except BROKER_ERRORS as error:
            log.warning("job %s: the outcome %s could not be stored: %s", job_id, code, error)
            return False
        return True


early_outcomes: Final = EarlyOutcomes()


def claimed_id(args: object) -> str | None:
    """Return the well-formed job id in a task's arguments, where its sender expects the outcome."""
    first = args[0] if isinstance(args, Sequence) and args else None
    claimed = first.get("id") if isinstance(first, dict) else None
    return claimed if isinstance(claimed, str) and JOB_ID.fullmatch(claimed) else None


def internal_error() -> str:
    """Return the message of an outcome whose reason is a bug."""
    return f"a bug in the worker; the log of {socket.gethostname()} has the traceback"
