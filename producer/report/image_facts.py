"""One image of a report in words and numbers, for whatever draws it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from producer.contract.outcome import Outcome

STAGES: Final = {
    "fetch": "#4e79a7",
    "load": "#b07aa1",
    "decode": "#4fa8a3",
    "wait": "#c8ccd2",
    "prepare": "#ffbe7d",
    "model": "#f28e2b",
    "mask": "#e15759",
    "matting": "#b6992d",
    "edges": "#edc948",
    "encode": "#59a14f",
    "store": "#8a8178",
}
"""The stages of `Outcome.seconds` in the order they are drawn, each with its colour."""


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """One image of the report: its files and what the worker said of it."""

    name: str
    original: Path
    cutout: Path | None = None
    """None when the job failed, or was not asked for it; `mask` likewise."""
    mask: Path | None = None
    outcome: Outcome

    @property
    def total(self) -> float:
        """Seconds from start to end."""
        return total(self.outcome)

    @property
    def stages(self) -> list[tuple[str, str, float]]:
        """Name, colour and seconds of every stage that was reached, in order."""
        return stages(self.outcome)

    def facts(self, size: tuple[int, int] | None) -> list[str]:
        """What to say of the image and of the model that ran; `size` if the outcome has none."""
        source, run = self.outcome.source, self.outcome.run
        if source and source.size:
            size = source.size
        about = [f"{size[0]} × {size[1]} px"] if size else []
        if self.outcome.no_foreground:
            about.append("no foreground found")
        elif self.outcome.foreground_share is not None:
            about.append(f"{self.outcome.foreground_share:.1%} foreground")
        lines = [", ".join(about)] if about else []
        if run:
            lines += [f"{run.model} on {run.device}", f"{run.engine}, {run.provider}, {run.dtype}"]
        elif self.outcome.state == "skipped":
            lines.append("skipped: already done")
        elif self.outcome.ok:
            lines.append("passed through, no model asked")
        return lines


def total(outcome: Outcome) -> float:
    """Seconds from start to end; the stages alone may add up to a little less."""
    return outcome.seconds.get("total", sum(outcome.seconds.values()))


def stages(outcome: Outcome) -> list[tuple[str, str, float]]:
    """Name, colour and seconds of every stage that was reached, in order."""
    spent = outcome.seconds
    return [(name, colour, spent[name]) for name, colour in STAGES.items() if name in spent]


def summary(shown: Sequence[ImageFacts]) -> str:
    """How many images, how many failed, and the seconds of all."""
    failed = sum(not one.outcome.ok for one in shown)
    count = "1 image" if len(shown) == 1 else f"{len(shown)} images"
    total = f"{sum(one.total for one in shown):.1f} s of work"
    return ", ".join(filter(None, (count, f"{failed} failed" if failed else "", total)))


def slowest(shown: Sequence[ImageFacts]) -> float:
    """Seconds that a whole bar stands for, above 0."""
    return max((one.total for one in shown), default=0) or 1
