"""Celery's request of a task: no delivery is left without an end.

Celery documents custom classes of requests. A patch without a link has no known upstream report.
"""

import logging
from typing import Any

from billiard.einfo import ExceptionWithTraceback  # type: ignore[attr-defined]  # not in the stubs
from celery.exceptions import Ignore, Reject, Retry, Terminated, WorkerLostError
from celery.worker import request, state

from worker.broker.early_outcomes import BROKER_ERRORS, REVOKED, claimed_id, early_outcomes

log = logging.getLogger(__name__)


class Request(request.Request):
    """A request whose job has an outcome however Celery ends it.

    The body is decoded once, in the main loop, where `celery_patches` checks it; Celery would
    decode it again in the thread.
    """

    id: str

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **{**options, "body": message.payload, "decoded": True})

    def fail(self) -> None:
        """End the delivery after an error in Celery itself, without a second outcome."""
        message: Any = self.message
        if early_outcomes.fail_delivery(message, self.body):
            self.acknowledge()
        else:
            self.reject(requeue=True)

    def on_failure(self, exc_info: Any, *arguments: Any, **options: Any) -> Any:
        """Handle an error of the task, which returns or retries, or of Celery around it.

        Upstream: acknowledges the message. Patch: only after its job has an outcome; otherwise the
        message is requeued.
        """
        if needs_outcome(exc_info.exception) and not early_outcomes.fail_delivery(
            self.message, self.body
        ):
            state.task_ready(self)
            self.reject(requeue=True)
            return None
        return super().on_failure(exc_info, *arguments, **options)

    def _announce_revoked(self, reason: str, terminated: Any, signum: Any, expired: bool) -> None:
        """Store the outcome `cancelled`, then end the delivery.

        Upstream: https://github.com/celery/celery/issues/4270. Celery only drops the message.
        Problem: the job would stay pending, and recovery would send it again. Patch: it has an
        outcome first; if that cannot be stored, the message is requeued.
        """
        try:
            early_outcomes.cancel(claimed_id(self.args) or self.id, _reason(expired=expired))
        except BROKER_ERRORS as error:
            log.warning("job %s: its outcome, cancelled, could not be stored: %s", self.id, error)
            state.task_ready(self)
            self.reject(requeue=True)
            self._already_revoked = True
            return
        super()._announce_revoked(reason, terminated, signum, expired)  # type: ignore[misc]


def needs_outcome(error: BaseException) -> bool:
    """Return whether an error is none of those by which a task says how its delivery ends."""
    if isinstance(error, ExceptionWithTraceback):
        error = error.exc
    ended = (Ignore, Reject, Retry, Terminated, WorkerLostError, MemoryError)
    return isinstance(error, Exception) and not isinstance(error, ended)


def _reason(*, expired: bool) -> str:
    if expired:
        return "the time in its message's expires had passed"
    return REVOKED
