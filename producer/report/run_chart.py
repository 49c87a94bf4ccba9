"""The throughput of a run over time, as bars; gaps between them are pauses."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from producer.contract.run import Minute

MAX_BARS: Final = 200
_WIDTHS: Final = (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 720, 1440)
"""Possible minutes per bar; above the last, whole days."""

_STEPS: Final = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)


class Bar(NamedTuple):
    """An interval with at least one outcome."""

    at: int
    """Index of the interval, from 0."""
    start: int
    """Unix time in seconds."""
    minutes: int
    images: float
    """Per minute, averaged over the interval."""
    megapixels: float


class Gap(NamedTuple):
    """Consecutive minutes without any outcome."""

    start: int
    """Unix time in seconds."""
    minutes: int


class Throughput(NamedTuple):
    """Outcomes over time."""

    start: int
    """Unix time in seconds."""
    minutes: int
    """From the start to the end."""
    width: int
    """Minutes per bar."""
    bars: list[Bar]
    gaps: list[Gap]
    """Every gap in order, even those narrower than a bar."""


def throughput(minutes: Sequence[Minute]) -> Throughput | None:
    """Return a run's minutes as at most `MAX_BARS` bars; None if there is no outcome."""
    if not minutes:
        return None
    first, last = minutes[0].start, minutes[-1].start
    span = (last - first) // 60 + 1
    needed = -(-span // MAX_BARS)
    width = next((width for width in _WIDTHS if width >= needed), -(-needed // 1440) * 1440)
    intervals: dict[int, list[Minute]] = {}
    for minute in minutes:
        intervals.setdefault((minute.start - first) // 60 // width, []).append(minute)
    bars = []
    for at, inside in intervals.items():
        length = min(width, span - at * width)  # the last interval may be shorter
        images = sum(minute.images for minute in inside) / length
        megapixels = sum(minute.pixels for minute in inside) / 1e6 / length
        bars.append(Bar(at, first + at * width * 60, length, images, megapixels))
    gaps = [
        Gap(before.start + 60, (after.start - before.start) // 60 - 1)
        for before, after in pairwise(minutes)
        if after.start - before.start > 60
    ]
    return Throughput(first, span, width, bars, gaps)


def round_top(value: float) -> float:
    """Return the end of an axis: the next of 1, 1.5, 2, 3, 4, 5, 6, 8, 10 times a power of ten."""
    if value <= 0:
        return 1
    power: float = 10 ** math.floor(math.log10(value))
    return next(step * power for step in _STEPS if step * power >= value or step == _STEPS[-1])
