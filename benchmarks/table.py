"""What a benchmark found, beside what was promised."""

from collections.abc import Iterable
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Row(NamedTuple):
    """One figure."""

    what: str
    measured: str
    bound: str
    """What was promised; empty for a figure that others are compared to."""
    ok: bool | None
    """None where nothing was promised."""


def show(rows: Iterable[Row]) -> bool:
    """Print the rows as one table; whether every promise is kept."""
    rows = list(rows)
    table = Table("row", "measured", "bound", "ok")
    for row in rows:
        ok = "" if row.ok is None else "yes" if row.ok else "NO"
        table.add_row(row.what, row.measured, row.bound, ok)
    Console().print(table)
    return all(row.ok is not False for row in rows)
