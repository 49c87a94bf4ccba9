"""The seconds of each stage as one line or as a bar chart."""

from collections.abc import Mapping
from typing import Final

from rich import box
from rich.bar import Bar
from rich.table import Table

_WIDTH: Final = 48
"""Characters of the longest bar."""


def format_stages(seconds: Mapping[str, float]) -> str:
    """Return every stage with its seconds in one line."""
    return ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())


def stage_chart(seconds: Mapping[str, float]) -> Table:
    """Return a table in which each stage's bar begins where the bar before it ends.

    `total` in `seconds` is the length of all bars together.
    """
    total = seconds["total"] or 1.0
    table = Table(box=box.SIMPLE, show_footer=True)
    table.add_column("stage", "total")
    table.add_column("seconds", f"{seconds['total']:.3f}", justify="right")
    table.add_column("share", "100%", justify="right")
    table.add_column("", min_width=_WIDTH)
    start = 0.0
    for name, length in seconds.items():
        if name != "total":
            bar = Bar(total, start, start + length, width=_WIDTH, color="cyan")
            table.add_row(name, f"{length:.3f}", f"{length / total:.0%}", bar)
            start += length
    return table
