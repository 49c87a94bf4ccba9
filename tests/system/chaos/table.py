"""The results of all faults as a terminal table, as Markdown or as JSON."""

import json
import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from tests.system.chaos.rounds import Fault, Round

_COLUMNS: Final = (
    *("fault", "times", "images in", "outputs valid", "invalid", "lost", "done twice"),
    "seconds to recover, median / worst",
)


_WIDTH: Final = 150
"""Characters per line if the output is not a terminal."""


class Row(NamedTuple):
    """All rounds of a fault."""

    fault: str
    what: str
    times: int
    items: int
    valid: int
    invalid: int
    lost: int
    twice: int
    median: float
    worst: float
    wrong: tuple[str, ...]

    @classmethod
    def of(cls, fault: Fault, rounds: Sequence[Round]) -> "Row":
        """Sum up the rounds, of which there must be at least one."""
        seconds = [one.seconds for one in rounds]
        return cls(
            fault=fault.name,
            what=fault.what,
            times=len(rounds),
            items=sum(one.items for one in rounds),
            valid=sum(one.valid for one in rounds),
            invalid=sum(one.invalid for one in rounds),
            lost=sum(one.lost for one in rounds),
            twice=sum(one.twice for one in rounds),
            median=statistics.median(seconds),
            worst=max(seconds),
            wrong=tuple(
                f"round {n}: {text}" for n, one in enumerate(rounds, 1) for text in one.wrong
            ),
        )

    @property
    def ok(self) -> bool:
        """Whether all images have valid outputs and nothing unexpected happened."""
        return not (self.lost or self.invalid or self.wrong) and self.valid == self.items

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the columns."""
        numbers = (self.times, self.items, self.valid, self.invalid, self.lost, self.twice)
        recovery = f"{self.median:.1f} / {self.worst:.1f}"
        return (self.what, *(f"{number:,}" for number in numbers), recovery)


def show(rows: Sequence[Row]) -> None:
    """Print the rows and the unexpected findings below them."""
    table = Table(*_COLUMNS)
    for row in rows:
        table.add_row(*row.cells(), style=None if row.ok else "bold red")
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(table)
    for row in rows:
        for text in row.wrong:
            console.print(f"{row.fault}: {text}", markup=False)


def markdown(rows: Sequence[Row]) -> str:
    """Return the table of docs/evidence/chaos.md."""
    lines = [_COLUMNS, ["---"] * len(_COLUMNS), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(rows: Sequence[Row]) -> str:
    """Return the rows as JSON, one per line."""
    return "\n".join(json.dumps(row._asdict()) for row in rows)
