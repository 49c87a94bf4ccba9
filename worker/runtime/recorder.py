"""Writes the outcomes of messages that end outside of the task."""

import logging

from producer.contract.outcome import LONGEST_LINE_BYTES, Outcome
from producer.observability.redact import redact_line
from worker.runtime.state import Runtime

log = logging.getLogger(__name__)


class RuntimeRecorder:
    """The state of this worker, as `early_outcomes` needs it."""

    def __init__(self, runtime: Runtime, *, hostname: str) -> None:
        self.signed = runtime.settings.signing is not None
        self._runtime = runtime
        self._hostname = hostname

    def record(self, outcome: Outcome) -> None:
        """Store, count and log an outcome."""
        runtime, message = self._runtime, outcome.message or ""
        message = redact_line(message, LONGEST_LINE_BYTES, secrets=runtime.secrets)
        outcome = outcome.model_copy(update={"worker": self._hostname, "message": message})
        runtime.ledger.record_outcome(outcome)
        runtime.metrics.count_outcome(outcome)
        log_outcome(outcome)

    def revoke(self, job_id: str, reason: str) -> None:
        """Prevent a job from beginning on any worker, now or after a restart."""
        self._runtime.ledger.cancel(job_id, reason=reason)

    def is_settled(self, tag: str) -> bool:
        """Return whether a delivery's outcome is stored, or its job was sent again."""
        return self._runtime.unacked.is_settled(tag)

    def is_stopping(self) -> bool:
        """Return whether this worker takes no more jobs."""
        return self._runtime.shutdown.is_stopping()


def log_outcome(outcome: Outcome) -> None:
    """Log an outcome in one line."""
    seconds = outcome.seconds.get("total", 0)
    facts = outcome.model_dump(include={"state", "code", "attempt", "seconds"}, exclude_none=True)
    if outcome.state != "failed":
        log.info("job %s %s in %.2f s", outcome.job_id, outcome.state, seconds, extra=facts)
    else:
        # %r, because a key or a message may contain line breaks.
        words = (outcome.job_id, outcome.code, outcome.message)
        log.warning("job %s failed: %s: %r", *words, extra=facts)
