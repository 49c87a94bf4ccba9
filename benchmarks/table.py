"""The results of a benchmark and their bounds, as a table."""

from collections.abc import Iterable
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Row(NamedTuple):
    """A figure."""

    what: str
    measured: str
    bound: str
    """The bound as text; empty for a figure of reference."""
    ok: bool | None
    """None without a bound."""


def show(rows: Iterable[Row]) -> bool:
    """Print the rows as a table and return whether every bound is met."""
    rows = list(rows)
    table = Table("row", "measured", "bound", "ok")
    for row in rows:
        ok = "" if row.ok is None else "yes" if row.ok else "NO"
        table.add_row(row.what, row.measured, row.bound, ok)
    Console().print(table)
    return all(row.ok is not False for row in rows)
