"""A circuit breaker: detects that every job fails for a reason that is not in its image."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from producer.contract.run import RunRecord
from producer.store.run_fields import UNREADABLE_CODES

_MIN_FAILURES: Final = 20
"""The number of failures since the last other outcome that opens the breaker."""
_IMAGE_CODES: Final = UNREADABLE_CODES | {
    *("source_not_found", "archived", "name_conflict", "name_too_long", "name_misplaced"),
    "name_misleading",
}
"""Error codes that concern one input and say nothing about the next."""


@dataclass
class CircuitBreaker:
    """Open while all outcomes are failures that a wrong bucket, lost rights or an outage explain.

    If the destination cannot be written, every image fails after its model has run. A feeder with
    ten million of them should stop at twenty.
    """

    code: str | None = None
    """The most frequent code of the failures that keep it open; None while it is closed."""
    _other_outcomes: int = -1
    _failures: Mapping[str, int] = field(default_factory=dict)
    """The failures by code at the time of the last other outcome."""

    def update(self, record: RunRecord) -> bool:
        """Open or close the breaker by a run's counts; return whether it opened for a new code."""
        counts = record.counts
        failures = {code: n for code, n in record.codes.items() if code not in _IMAGE_CODES}
        other_outcomes = counts.done + counts.skipped + counts.failed - sum(failures.values())
        if other_outcomes != self._other_outcomes:
            self._other_outcomes, self._failures = other_outcomes, failures
        recent = {code: n - self._failures.get(code, 0) for code, n in failures.items()}
        previous_code = self.code
        is_open = sum(recent.values()) >= _MIN_FAILURES
        self.code = max(recent, key=lambda code: recent[code]) if is_open else None
        return is_open and self.code != previous_code
