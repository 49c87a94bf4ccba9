"""One image of the demo, as its page and its contact sheet show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from producer.contract.outcome import Outcome
from producer.report.stages import stage_times, total_seconds


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """One image of the demo: its files and its outcome."""

    name: str
    original: Path
    cutout: Path | None = None
    """None if the job failed or did not ask for it; the same holds for `mask`."""
    mask: Path | None = None
    outcome: Outcome

    @property
    def total(self) -> float:
        """Seconds from start to end."""
        return total_seconds(self.outcome)

    @property
    def stages(self) -> list[tuple[str, str, float]]:
        """Name, colour and seconds of every stage that was reached, in order."""
        return stage_times(self.outcome)

    def facts(self, size: tuple[int, int] | None) -> list[str]:
        """Return lines about the image and the model; `size` counts if the outcome has none."""
        source, run = self.outcome.source, self.outcome.run
        if source and source.size:
            size = source.size
        description = [f"{size[0]} × {size[1]} px"] if size else []
        if self.outcome.no_foreground:
            description.append("no foreground found")
        elif self.outcome.foreground_share is not None:
            description.append(f"{self.outcome.foreground_share:.1%} foreground")
        lines = [", ".join(description)] if description else []
        if run:
            lines += [f"{run.model} on {run.device}", f"{run.engine}, {run.provider}, {run.dtype}"]
        elif self.outcome.state == "skipped":
            lines.append("skipped: already done")
        elif self.outcome.ok:
            lines.append("passed through, no model used")
        return lines


def summary(images: Sequence[ImageFacts]) -> str:
    """Return the number of images and of failures, and the total seconds, as a text."""
    failed = sum(not image.outcome.ok for image in images)
    count = "1 image" if len(images) == 1 else f"{len(images)} images"
    total = f"{sum(image.total for image in images):.1f} s of work"
    return ", ".join(filter(None, (count, f"{failed} failed" if failed else "", total)))


def slowest(images: Sequence[ImageFacts]) -> float:
    """Return the seconds that a full bar stands for, above 0."""
    return max((image.total for image in images), default=0) or 1
