"""A measured figure and its bound, as text and as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A median, or a ratio of two medians of one run."""

    what: str
    value: float | None
    """None if it could not be measured on this machine; `how` says why."""
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    how: str = ""
    """The values from which it was computed."""
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """All measured values by name."""

    @property
    def ok(self) -> bool | None:
        """Whether it reaches its bound; None without a bound or a value."""
        if self.value is None or (self.at_least is None and self.at_most is None):
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def measured(self) -> str:
        """Return the value as text."""
        return "–" if self.value is None else f"{self.value:.3g} {self.unit}".rstrip()

    @property
    def bound(self) -> str:
        """Return the bound as text."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g} {self.unit}".rstrip()
        return "" if self.at_most is None else f"≤ {self.at_most:g} {self.unit}".rstrip()

    def to_json(self) -> dict[str, Any]:
        """Return the figure as a JSON value."""
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "at_least": self.at_least,
            "at_most": self.at_most,
            "ok": self.ok,
            "how": self.how,
            "samples": {name: list(values) for name, values in self.samples.items()},
        }


_OK = {True: "yes", False: "NO", None: ""}


def show(figures: Iterable[Figure], *, title: str) -> None:
    """Print figures as a table."""
    table = Table("figure", "measured", "bound", "reached", "how", title=title)
    for figure in figures:
        table.add_row(figure.what, figure.measured, figure.bound, _OK[figure.ok], figure.how)
    Console().print(table)


def markdown(figures: Iterable[Figure]) -> str:
    """Return the figures as the table of docs/evidence/benchmarks.md."""
    lines = ["| figure | measured | bound | reached | how |", "|---|---|---|---|---|"]
    lines += [
        f"| {figure.what} | {figure.measured} | {figure.bound} | {_OK[figure.ok]} | {figure.how} |"
        for figure in figures
    ]
    return "\n".join(lines)
