"""A dry run: what a run would do, and how long it would take."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple

from producer.console.humanize import duration, quantity
from producer.console.input_states import unsent_counts, unsent_texts
from producer.contract.run import RunCounts, RunRecord, RunSpec
from producer.contract.s3_uri import split_uri
from producer.sync.plan.known import FindUnreadable, mark_known
from producer.sync.plan.step import EXCLUSION_COUNTS, Step

_CHUNK_STEPS: Final = 1000
_MAX_EXAMPLES: Final = 5
_MAX_CONFLICTS: Final = 20
_MIN_IMAGES: Final = 10
"""The least number of images of an earlier run for an estimate."""


@dataclass
class DryRun:
    """The figures of a plan."""

    counts: Counter[str] = field(default_factory=Counter)
    """The number of inputs by verdict."""
    reasons: Counter[str] = field(default_factory=Counter)
    """The number of jobs that would be sent by reason."""
    exclusions: Counter[str] = field(default_factory=Counter)
    """The number of excluded inputs by reason."""
    bytes: int | None = 0
    """The total size of the sources to be sent; None if the size of one is unknown."""
    examples: list[Step] = field(default_factory=list)
    """The first inputs that would be sent."""
    conflicts: list[Step] = field(default_factory=list)
    """The first conflicting inputs."""

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
        if step.verdict == "excluded":
            self.exclusions[step.reason] += 1
        if step.verdict == "conflicting" and len(self.conflicts) < _MAX_CONFLICTS:
            self.conflicts.append(step)
        if step.verdict != "send":
            return
        self.reasons[step.reason] += 1
        if self.bytes is not None:
            self.bytes = None if step.bytes is None else self.bytes + step.bytes
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(step)

    def run_counts(self) -> RunCounts:
        """Return the counts as those of a run that has sent nothing yet."""
        unsent = ("excluded", "archived", "current", "known", "conflicting")
        details = {name: self.exclusions[reason] for reason, name in EXCLUSION_COUNTS.items()}
        counts = {name: self.counts[name] for name in unsent}
        return RunCounts(seen=self.seen, **counts, **details)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as a JSON value."""
        return {
            "seen": self.seen,
            "counts": self.counts,
            "reasons": self.reasons,
            "exclusions": self.exclusions,
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


def input_json(step: Step, spec: RunSpec) -> dict[str, Any]:
    """Return what would happen to one input, as a JSON value."""
    # A source under a prefix that is left out has no reference, only its key.
    bucket, _ = split_uri(spec.source or "")
    source = f"s3://{bucket}/{step.cursor}" if step.source is None else str(step.source)
    facts = {
        "source": source,
        "verdict": step.verdict,
        "reason": step.reason,
        "image": step.image and str(step.image),
        "mask": step.mask and str(step.mask),
        "message": step.message or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


class Estimate(NamedTuple):
    """The time that a number of images would take."""

    seconds: float
    images_per_second: float
    run: str
    """The earlier run whose throughput is assumed."""
    workers: int
    """The number of workers in that run."""


class NoEstimate(NamedTuple):
    """Why the time cannot be estimated."""

    unfit_runs: int
    """The number of earlier runs with these options; none of them measured the throughput."""


def dry_run(
    steps: Iterable[Step],
    spec: RunSpec,
    *,
    find_unreadable: FindUnreadable,
    show: Callable[[Step], None] = lambda _: None,
) -> DryRun:
    """Read a plan up to the run's limit of jobs, and send nothing; `show` gets every step."""
    result = DryRun()
    steps = iter(steps)
    while result.sent != spec.limit and (chunk := list(islice(steps, _CHUNK_STEPS))):
        for step in mark_known(chunk, spec, find_unreadable):
            result.add(step)
            show(step)
            if result.sent == spec.limit:
                break
    return result


def estimate(spec: RunSpec, images: int, *, runs: Iterable[RunRecord]) -> Estimate | NoEstimate:
    """Estimate by the latest run with the same model, preset, matting and size.

    The run must have finished without a resumption, with at least 10 images done.
    """
    unfit = 0
    for record in runs:
        if _options_of(record.spec) != _options_of(spec):
            continue
        is_whole = record.state == "finished" and not record.resumed
        if not is_whole or record.finished_at is None or record.counts.done < _MIN_IMAGES:
            unfit += 1
            continue
        throughput = record.counts.done / max(record.finished_at - record.created_at, 0.001)
        return Estimate(images / throughput, throughput, record.id, len(record.workers))
    return NoEstimate(unfit)


def _options_of(spec: RunSpec) -> tuple[object, ...]:
    """Return the options that decide throughput."""
    options = spec.options
    return options.model, options.preset, options.alpha_matting, options.size, options.enabled


def summary_lines(result: DryRun, estimated: Estimate | NoEstimate) -> list[tuple[str, str]]:
    """Return the figures as pairs of a label and a text, one per line."""
    size = "" if result.bytes is None else f" ({quantity(result.bytes, 'B')})"
    lines = [("would send", f"{result.sent:,} of {result.seen:,} inputs{size}")]
    if result.reasons:
        texts = [f"{n:,} {name.replace('_', ' ')}" for name, n in result.reasons.items()]
        lines.append(("because", ", ".join(texts)))
    if unsent := unsent_texts(unsent_counts(result.run_counts())):
        lines.append(("and leave", ", ".join(unsent)))
    for number, step in enumerate(result.examples):
        destinations = " and ".join(str(ref) for ref in (step.image, step.mask) if ref)
        lines.append(("" if number else "first", f"{step.source} → {destinations}"))
    for number, step in enumerate(result.conflicts):
        text = f"{step.reason} {step.source}: {step.message}"
        lines.append(("" if number else "conflicts", text))
    if left := result.counts["conflicting"] - len(result.conflicts):
        lines.append(("", f"and {left:,} more, which --json lists"))
    if isinstance(estimated, Estimate):
        throughput = f"{estimated.images_per_second:.2f} images/s with {estimated.workers} workers"
        time = duration(estimated.seconds)
        lines.append(("estimated", f"{time}, as run {estimated.run} did {throughput}"))
    elif result.sent and estimated.unfit_runs:
        lines.append(
            (
                "estimated",
                f"unknown: of {estimated.unfit_runs:,} earlier runs with these options none "
                f"finished without a pause and with {_MIN_IMAGES} images or more",
            )
        )
    elif result.sent:
        lines.append(("estimated", "unknown: no earlier run with this model to go by"))
    return lines
