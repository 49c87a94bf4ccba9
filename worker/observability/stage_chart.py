"""Where the seconds of one image go, for people: in a line, or as bars one behind the other."""

from collections.abc import Mapping

from rich import box
from rich.bar import Bar
from rich.table import Table

_WIDTH = 48
"""Characters of the longest bar."""


def listed(seconds: Mapping[str, float]) -> str:
    """Every stage with its seconds, in a line."""
    return ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())


def chart(seconds: Mapping[str, float]) -> Table:
    """Every stage with a bar, from where those before it end; `total` is the length of them all."""
    whole = seconds["total"] or 1.0
    table = Table(box=box.SIMPLE, show_footer=True)
    table.add_column("stage", "total")
    table.add_column("seconds", f"{seconds['total']:.3f}", justify="right")
    table.add_column("share", "100%", justify="right")
    table.add_column("", min_width=_WIDTH)
    begin = 0.0
    for name, spent in seconds.items():
        if name != "total":
            bar = Bar(whole, begin, begin + spent, width=_WIDTH, color="cyan")
            table.add_row(name, f"{spent:.3f}", f"{spent / whole:.0%}", bar)
            begin += spent
    return table
