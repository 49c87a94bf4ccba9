"""Notice that nothing succeeds any more, for a reason that is not in the images."""

from dataclasses import dataclass, field
from typing import Final

from producer.contract.run import RunRecord
from producer.store.run_fields import UNREADABLE_CODES

_MIN_FAILURES: Final = 20
_IMAGE_CODES: Final = UNREADABLE_CODES | {
    *("source_not_found", "name_conflict", "name_too_long", "name_misplaced"),
}
"""Codes that say something of one input, and nothing of the next."""


@dataclass
class CircuitBreaker:
    """Open while outcomes only fail as a wrong bucket, lost rights or an outage make them fail.

    A bucket that cannot be written fails every image after its model has run; whoever feeds ten
    million of them should stop at twenty.
    """

    _other_outcomes: int = -1
    _failures: dict[str, int] = field(default_factory=dict)

    def open_code(self, record: RunRecord) -> str | None:
        """The code all outcomes have had since the last good one, once there are enough of them."""
        counts = record.counts
        failures = {code: n for code, n in record.codes.items() if code not in _IMAGE_CODES}
        other_outcomes = counts.done + counts.skipped + counts.failed - sum(failures.values())
        if other_outcomes != self._other_outcomes:
            self._other_outcomes, self._failures = other_outcomes, failures
        since = {code: number - self._failures.get(code, 0) for code, number in failures.items()}
        if sum(since.values()) < _MIN_FAILURES:
            return None
        return max(since, key=lambda code: since[code])
