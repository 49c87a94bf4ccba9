"""The throughput of a run over time, as bars whose gaps are its pauses."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from producer.contract.run import Minute

MOST_BARS: Final = 200
_WIDTHS: Final = (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 720, 1440)
"""Minutes a bar may stand for; above the last, whole days."""

_STEPS: Final = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)


class Bar(NamedTuple):
    """A stretch of time in which something ended."""

    at: int
    """Number of the stretch, from 0."""
    start: int
    """Unix time in seconds."""
    minutes: int
    images: float
    """A minute, on average over the stretch."""
    megapixels: float


class Gap(NamedTuple):
    """Minutes in a row in which nothing ended."""

    start: int
    """Unix time in seconds."""
    minutes: int


class Throughput(NamedTuple):
    """What ended over time."""

    start: int
    """Unix time in seconds."""
    minutes: int
    """From the start to the end."""
    width: int
    """Minutes of a bar."""
    bars: list[Bar]
    gaps: list[Gap]
    """In order; all of them, though the shortest may be narrower than a bar."""


def throughput(minutes: Sequence[Minute]) -> Throughput | None:
    """The minutes of a run as at most `MOST_BARS` bars; None when nothing ended."""
    if not minutes:
        return None
    first, last = minutes[0].start, minutes[-1].start
    span = (last - first) // 60 + 1
    width = _width(span)
    stretches: dict[int, list[Minute]] = {}
    for minute in minutes:
        stretches.setdefault((minute.start - first) // 60 // width, []).append(minute)
    bars = []
    for at, inside in stretches.items():
        length = min(width, span - at * width)  # the last one may be cut short
        bars.append(
            Bar(
                at,
                first + at * width * 60,
                length,
                sum(minute.images for minute in inside) / length,
                sum(minute.pixels for minute in inside) / 1e6 / length,
            )
        )
    gaps = [
        Gap(before.start + 60, (after.start - before.start) // 60 - 1)
        for before, after in pairwise(minutes)
        if after.start - before.start > 60
    ]
    return Throughput(first, span, width, bars, gaps)


def _width(span: int) -> int:
    needed = -(-span // MOST_BARS)
    return next((width for width in _WIDTHS if width >= needed), -(-needed // 1440) * 1440)


def round_top(value: float) -> float:
    """The end of an axis: the next of 1, 1.5, 2, 3, 4, 5, 6, 8, 10 times a power of ten."""
    if value <= 0:
        return 1
    power: float = 10 ** math.floor(math.log10(value))
    return next(step * power for step in _STEPS if step * power >= value or step == _STEPS[-1])
