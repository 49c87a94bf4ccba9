"""Figures derived from a run's record: rates, the states of its inputs, and mean stage times."""

from typing import Final, NamedTuple

from producer.contract.run import RunCounts, RunRecord
from producer.contract.s3_uri import Value
from producer.report.stages import STAGES

_OTHER_COLOUR: Final = "#9aa1ab"


class Figures(Value):
    """Derived figures of a run."""

    seconds: float
    """From the start to the end, or until the record was read; includes pauses."""
    pause_seconds: float
    """Whole minutes without any outcome, between the first and the last outcome."""
    images: int
    """Outcomes of every state except `cancelled`."""
    images_per_second: float | None
    """Over all of `seconds`; None if `seconds` is 0."""
    best_minute_images_per_second: float | None
    """None if the run contains no whole minute."""
    megapixels_per_second: float | None


class InputState(NamedTuple):
    """The number of inputs in one state."""

    name: str
    number: int
    colour: str
    meaning: str


class StageMean(NamedTuple):
    """One stage of the work on an image."""

    name: str
    colour: str
    mean: float
    """Seconds per image."""
    share: float
    """Share of the total, 0…1."""


def figures(record: RunRecord) -> Figures:
    """Return the figures of a run, finished or not."""
    end = record.taken_at if record.finished_at is None else record.finished_at
    seconds = max(0.0, end - record.created_at)
    counts = record.counts
    images = counts.done + counts.skipped + counts.failed
    whole = [
        minute.images
        for minute in record.minutes
        if record.created_at <= minute.start and minute.start + 60 <= end
    ]
    pause = 0
    if record.minutes:
        span = (record.minutes[-1].start - record.minutes[0].start) // 60 + 1
        pause = 60 * (span - len(record.minutes))
    return Figures(
        seconds=seconds,
        pause_seconds=pause,
        images=images,
        images_per_second=images / seconds if seconds else None,
        best_minute_images_per_second=max(whole) / 60 if whole else None,
        megapixels_per_second=record.pixels / 1e6 / seconds if seconds else None,
    )


def input_states(counts: RunCounts) -> list[InputState]:
    """Return every state of an input; the numbers add up to `counts.seen`."""
    return [
        InputState("done", counts.done, "#3f8f4f", "cut out and stored"),
        InputState("skipped", counts.skipped, "#8cc79a", "the same output was already stored"),
        InputState("up to date", counts.current, "#4e79a7", "outputs are newer; not sent"),
        InputState("in flight", counts.in_flight, "#f0a23b", "sent, no outcome yet"),
        InputState("excluded", counts.excluded, "#a9b0ba", "folders, other files, filtered"),
        InputState("archived", counts.archived, "#6d7fa3", "in an archive class; restore to read"),
        InputState("known", counts.known, "#8a8178", "known to be unreadable"),
        InputState("cancelled", counts.cancelled, "#b07aa1", "sent, then cancelled"),
        InputState(
            "conflicting", counts.conflicting, "#d4b13f", "the output has no name of its own"
        ),
        InputState("failed", counts.failed, "#d0392e", "see the failures"),
        InputState("undecided", max(0, undecided(counts)), "#c8ccd2", "read, not planned yet"),
    ]


def undecided(counts: RunCounts) -> int:
    """Return the inputs in no other count; they differ from 0 only while a run is being planned."""
    left_out = counts.excluded + counts.archived + counts.current + counts.known
    return counts.seen - left_out - counts.conflicting - counts.sent


def stage_means(record: RunRecord) -> list[StageMean]:
    """Return the mean seconds of every stage, in order; `other` is the time outside the stages.

    The mean is over the images that were done.
    """
    spent, done = record.seconds, record.counts.done
    whole = max(spent.get("total", 0.0), sum(spent.get(name, 0.0) for name in STAGES))
    if not done or whole <= 0:
        return []
    parts = [(name, colour, spent.get(name, 0.0)) for name, colour in STAGES.items()]
    rest = whole - sum(seconds for _, _, seconds in parts)
    parts.append(("other", _OTHER_COLOUR, rest if rest > 0.005 * whole else 0.0))
    return [
        StageMean(name, colour, seconds / done, seconds / whole)
        for name, colour, seconds in parts
        if seconds > 0
    ]
