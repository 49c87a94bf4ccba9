"""What follows from the record of a run: rates, what became of the inputs, and mean stage times."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from producer.contract.run import RunCounts, RunRecord
from producer.contract.s3_uri import Value
from producer.report.stages import STAGES

_OTHER_COLOUR: Final = "#9aa1ab"


class Figures(Value):
    """The figures of a run that its record holds only in parts."""

    seconds: float
    """From the start to the end, or until the record was read; pauses are in it."""
    pause_seconds: float
    """Whole minutes between the first and the last in which nothing ended."""
    images: int
    """Outcomes of every kind but cancelled."""
    images_per_second: float | None
    """Over all of `seconds`; None when those are 0."""
    best_minute_images_per_second: float | None
    """None when no whole minute lies within the run."""
    megapixels_per_second: float | None


class Fate(NamedTuple):
    """What became of some of the inputs."""

    name: str
    number: int
    colour: str
    meaning: str


class StageMean(NamedTuple):
    """One stage of the work on an image."""

    name: str
    colour: str
    mean: float
    """Seconds an image."""
    share: float
    """Of the whole, 0…1."""


def figures(record: RunRecord) -> Figures:
    """The figures of a run as it stands."""
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


def fates(counts: RunCounts) -> list[Fate]:
    """Every input in one of these; together they are `counts.seen`."""
    return [
        Fate("done", counts.done, "#3f8f4f", "cut out and stored"),
        Fate("skipped", counts.skipped, "#8cc79a", "a worker found the same result stored"),
        Fate("up to date", counts.current, "#4e79a7", "outputs there and newer, not sent"),
        Fate("in flight", counts.in_flight, "#f0a23b", "sent, no outcome yet"),
        Fate("excluded", counts.excluded, "#a9b0ba", "left out by a filter"),
        Fate("known bad", counts.known, "#8a8178", "no readable image in an earlier run"),
        Fate("cancelled", counts.cancelled, "#b07aa1", "sent, and called back"),
        Fate("conflicting", counts.conflicting, "#d4b13f", "the output's name was taken"),
        Fate("failed", counts.failed, "#d0392e", "see the failures"),
        Fate("undecided", max(0, undecided(counts)), "#c8ccd2", "read, not yet planned"),
    ]


def undecided(counts: RunCounts) -> int:
    """Inputs that were seen and are in no other count; not 0 only while a run is planned."""
    decided = counts.excluded + counts.current + counts.known + counts.conflicting + counts.sent
    return counts.seen - decided


def stage_means(record: RunRecord) -> list[StageMean]:
    """Mean seconds of every stage that took any, in order; `other` is what no stage accounts for.

    The mean is over the images that were done.
    """
    spent, done = record.seconds, record.counts.done
    whole = max(spent.get("total", 0.0), sum(spent.get(name, 0.0) for name in STAGES))
    if not done or whole <= 0:
        return []
    return [
        StageMean(name, colour, seconds / done, seconds / whole)
        for name, colour, seconds in _parts(spent, whole)
    ]


def _parts(spent: dict[str, float], whole: float) -> Iterator[tuple[str, str, float]]:
    left = whole
    for name, colour in STAGES.items():
        if spent.get(name, 0.0) > 0:
            left -= spent[name]
            yield name, colour, spent[name]
    if left > 0.005 * whole:
        yield "other", _OTHER_COLOUR, left
