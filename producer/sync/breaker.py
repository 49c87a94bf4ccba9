"""Notice that nothing succeeds any more, for a reason that is not in the images."""

from dataclasses import dataclass, field
from typing import Final

from producer.contract.run import RunRecord
from producer.store.run_fields import UNREADABLE_CODES

_IN_A_ROW: Final = 20
_OF_THE_IMAGE: Final = UNREADABLE_CODES | {
    *("source_not_found", "name_conflict", "name_too_long", "name_misplaced"),
}
"""Codes that say something of one input, and nothing of the next."""


@dataclass
class Breaker:
    """Open while outcomes only fail as a wrong bucket, lost rights or an outage make them fail.

    A bucket that cannot be written fails every image after its model has run; whoever feeds ten
    million of them should stop at twenty.
    """

    _good: int = -1
    _bad: dict[str, int] = field(default_factory=dict)

    def look(self, record: RunRecord) -> str | None:
        """The code all outcomes have had since the last good one, once there are enough of them."""
        counts = record.counts
        bad = {code: n for code, n in record.codes.items() if code not in _OF_THE_IMAGE}
        good = counts.done + counts.skipped + counts.failed - sum(bad.values())
        if good != self._good:
            self._good, self._bad = good, bad
        since = {code: number - self._bad.get(code, 0) for code, number in bad.items()}
        if sum(since.values()) < _IN_A_ROW:
            return None
        return max(since, key=lambda code: since[code])
