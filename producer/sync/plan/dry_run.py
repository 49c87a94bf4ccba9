"""A dry run: what a run would do, and how long it would take."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple

from producer.console.humanize import duration, quantity
from producer.contract.run import RunRecord, RunSpec
from producer.sync.plan.known import FindUnreadable, mark_known
from producer.sync.plan.step import Step

_CHUNK_STEPS: Final = 1000
_MAX_EXAMPLES: Final = 5
_MIN_IMAGES: Final = 10
"""The least number of images of an earlier run for an estimate."""


@dataclass
class DryRun:
    """The figures of a plan."""

    counts: Counter[str] = field(default_factory=Counter)
    """The number of inputs by verdict."""
    reasons: Counter[str] = field(default_factory=Counter)
    """The number of jobs that would be sent by reason."""
    bytes: int | None = 0
    """The total size of the sources to be sent; None if the size of one is unknown."""
    examples: list[Step] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """The number of jobs that would be sent."""
        return self.counts["send"]

    @property
    def seen(self) -> int:
        """The number of inputs that were read."""
        return self.counts.total()

    def add(self, step: Step) -> None:
        """Count one step."""
        self.counts[step.verdict] += 1
        if step.verdict != "send":
            return
        self.reasons[step.reason] += 1
        if self.bytes is not None:
            self.bytes = None if step.bytes is None else self.bytes + step.bytes
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(step)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as a JSON value."""
        return {
            "seen": self.seen,
            "counts": self.counts,
            "reasons": self.reasons,
            "bytes": self.bytes,
            "examples": [
                {
                    "source": str(step.source),
                    "image": step.image and str(step.image),
                    "mask": step.mask and str(step.mask),
                    "reason": step.reason,
                }
                for step in self.examples
            ],
        }


class Estimate(NamedTuple):
    """The time that a number of images would take."""

    seconds: float
    images_per_second: float
    run: str
    """The earlier run whose throughput is assumed."""
    workers: int
    """The number of workers in that run."""


def dry_run(steps: Iterable[Step], spec: RunSpec, *, find_unreadable: FindUnreadable) -> DryRun:
    """Read a plan up to the run's limit of jobs, and send nothing."""
    result = DryRun()
    steps = iter(steps)
    while result.sent != spec.limit and (chunk := list(islice(steps, _CHUNK_STEPS))):
        for step in mark_known(chunk, spec, find_unreadable):
            result.add(step)
            if result.sent == spec.limit:
                break
    return result


def estimate(spec: RunSpec, images: int, *, runs: Iterable[RunRecord]) -> Estimate | None:
    """Estimate by the latest run with the same model, preset, matting and size; None without one.

    The run must have finished without a resumption, with at least 10 images done.
    """
    for record in runs:
        if record.state != "finished" or record.finished_at is None or record.resumed:
            continue
        if record.counts.done < _MIN_IMAGES or _options_of(record.spec) != _options_of(spec):
            continue
        throughput = record.counts.done / max(record.finished_at - record.created_at, 0.001)
        return Estimate(images / throughput, throughput, record.id, len(record.workers))
    return None


def _options_of(spec: RunSpec) -> tuple[object, ...]:
    """Return the options that decide throughput."""
    options = spec.options
    return options.model, options.preset, options.alpha_matting, options.size, options.enabled


def summary_lines(result: DryRun, estimated: Estimate | None) -> list[tuple[str, str]]:
    """Return the figures as pairs of a label and a text, one per line."""
    size = "" if result.bytes is None else f" ({quantity(result.bytes, 'B')})"
    lines = [("would send", f"{result.sent:,} of {result.seen:,} inputs{size}")]
    if result.reasons:
        lines.append(("because", _joined(result.reasons)))
    if others := {verdict: n for verdict, n in result.counts.items() if verdict != "send"}:
        lines.append(("and leave", _joined(others)))
    for number, step in enumerate(result.examples):
        destinations = " and ".join(str(ref) for ref in (step.image, step.mask) if ref)
        lines.append(("" if number else "first", f"{step.source} → {destinations}"))
    if estimated:
        throughput = f"{estimated.images_per_second:.2f} images/s with {estimated.workers} workers"
        time = duration(estimated.seconds)
        lines.append(("estimated", f"{time}, as run {estimated.run} did {throughput}"))
    elif result.sent:
        lines.append(("estimated", "unknown: no earlier run with this model to go by"))
    return lines


def _joined(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in numbers.items())
