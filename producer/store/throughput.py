"""How many images a second one worker does, by queue, in Redis: measured by workers, and kept.

The rate stays when the last worker is gone, so that a pool that has shrunk to nothing still knows
how many workers a backlog needs. It is a pair of numbers a queue, however many workers there are.
"""

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import redis

_KEY: Final = "cutwork:rates"
_FADES_SECONDS: Final = 120.0
"""Of work, by all workers together: an idle night forgets nothing."""


class ThroughputStore:
    """The rates in one Redis database; every method raises `redis.RedisError`.

    Kept are images I and seconds S, and the rate is I ÷ S. A report of i images in s seconds of one
    worker makes I = i + I·f and S = s + S·f, with f = exp(−s ÷ 120): the mean over the last two
    minutes of work, in which what is older counts for less and less.
    """

    def __init__(self, server: redis.Redis) -> None:
        text = (Path(__file__).parent / "scripts" / "add_throughput.lua").read_text(
            encoding="utf-8"
        )
        self._server = server
        self._add = server.register_script(text)

    def add(self, queue: str, *, images: int, seconds: float) -> None:
        """Count what one worker did in so many seconds in which all of its threads were at work."""
        self._add(keys=[_KEY], args=[queue, images, seconds, _FADES_SECONDS])

    def read(self, queues: Collection[str]) -> dict[str, float]:
        """Images a second of one worker, for those of the queues where it was measured."""
        try:
            found: Any = self._server.hmget(_KEY, list(queues))
        except redis.ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                return {}  # What somebody else wrote there; the next report replaces it.
            raise
        rates = {queue: _rate(text) for queue, text in zip(queues, found, strict=True)}
        return {queue: rate for queue, rate in rates.items() if rate is not None}


def _rate(text: str | None) -> float | None:
    try:
        images, seconds = map(float, (text or "").split(" "))
        rate = images / seconds
    except (ValueError, ZeroDivisionError):
        return None  # Nothing was measured, or what is there is none of ours.
    return rate if 0 < rate < math.inf else None
