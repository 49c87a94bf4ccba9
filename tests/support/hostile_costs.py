"""What hostile files cost, and the bounds of that."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final, NamedTuple

CPU_SECONDS: Final = 10
"""The largest processor time of a file."""
SHARES: Final = 1.5
AROUND: Final = 50_000_000
"""The largest memory of a file: so many of its shares, and so many bytes."""
LOG_BYTES: Final = 4_000
"""The largest log of a file."""


class Row(NamedTuple):
    """What one file cost in one way."""

    kind: str
    file: str
    way: str
    ends: str
    """`done`, an error code, or `killed` if its process ended early."""
    source_bytes: int
    share_bytes: int
    """The bytes of the file and the memory estimate; without the latter if it was refused first."""
    cpu_seconds: float
    peak_bytes: int
    log_bytes: int

    @property
    def excess(self) -> float:
        """The peak memory relative to its bound."""
        return self.peak_bytes / (SHARES * self.share_bytes + AROUND)

    @property
    def faults(self) -> Sequence[str]:
        """The bounds that the file exceeds."""
        exceeded = {
            "processor time": self.ends == "killed" or self.cpu_seconds > CPU_SECONDS,
            "memory": self.excess > 1,
            "log": self.log_bytes > LOG_BYTES,
        }
        return [name for name, found in exceeded.items() if found]


def table(found: Sequence[Row]) -> str:
    """Return a Markdown table of the files of each kind that cost most."""
    lines = [
        "| kind | files | most processor time | most memory for its share | most log |",
        "|---|---:|---|---|---:|",
    ]
    by_kind = groupby(sorted(found), key=lambda row: row.kind)
    for kind, members in ((kind, list(group)) for kind, group in by_kind):
        slowest = max(members, key=lambda row: row.cpu_seconds)
        largest = max(members, key=lambda row: row.excess)
        files = len({row.file for row in members})
        log_bytes = max(row.log_bytes for row in members)
        bound = SHARES * largest.share_bytes + AROUND
        lines.append(
            f"| {kind} | {files} | {slowest.cpu_seconds:.2f} s, `{slowest.file}` | "
            f"{largest.peak_bytes / 1e6:.0f} of {bound / 1e6:.0f} MB, `{largest.file}` | "
            f"{log_bytes:,} B |"
        )
    return "\n".join(lines)
