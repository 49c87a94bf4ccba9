"""The measured throughput of one worker, in images per second, by queue, in Redis.

Workers measure it. It outlives the last worker, so that autoscaling knows from a backlog how many
workers a pool needs that has shrunk to nothing. It is two numbers per queue, however many workers
there are.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import redis

_KEY: Final = "cutwork:rates"
_DECAY_SECONDS: Final = 120.0
"""Seconds of work, of all workers together, in which a measurement decays to 1/e. Idle time does
not count: after a quiet night the throughput is still known."""
_MOST_SECONDS: Final = 3_600.0
"""The most seconds that are believed. A report covers some seconds, and S is at most 120 more than
the longest one: a larger S is another program's, and would hide all later reports."""
_MAX_RATE: Final = 10_000.0
_MIN_RATE: Final = 1e-5
"""The rates of one worker that are believed, in images per second: one image a day, and more than
any machine can do. The autoscaler would go to its ceiling, or to nothing."""


class ThroughputStore:
    """The throughput in one Redis database. Every method raises `redis.RedisError`.

    Stored are images I and seconds S, and the throughput is I ÷ S. A report of i images in s
    seconds of one worker makes I = i + I·f and S = s + S·f, with f = exp(−s ÷ 120): an
    exponentially weighted mean over about the last two minutes of work.
    """

    def __init__(self, server: redis.Redis) -> None:
        script = Path(__file__).parent / "scripts" / "add_throughput.lua"
        self._server = server
        self._add = server.register_script(script.read_text(encoding="utf-8"))

    def add(self, queue: str, *, images: int, seconds: float) -> None:
        """Add what one worker did in `seconds` during which all of its threads were busy."""
        if not _is_plausible(images, seconds):
            return
        limits = [_MOST_SECONDS, _MIN_RATE, _MAX_RATE]
        self._add(keys=[_KEY], args=[queue, images, seconds, _DECAY_SECONDS, *limits])

    def read(self, queues: Collection[str]) -> dict[str, float]:
        """Return the images per second of one worker, for those queues where it was measured."""
        try:
            texts: Any = self._server.hmget(_KEY, list(queues))
        except redis.ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                return {}  # Another program wrote to this key; the next report replaces it.
            raise
        rates = {queue: _rate(text) for queue, text in zip(queues, texts, strict=True)}
        return {queue: rate for queue, rate in rates.items() if rate is not None}


def _rate(text: str | None) -> float | None:
    try:
        images, seconds = map(float, (text or "").split(" "))
    except ValueError:
        return None  # Not measured yet, or written by another program.
    return images / seconds if _is_plausible(images, seconds) else None


def _is_plausible(images: float, seconds: float) -> bool:
    return 0 < seconds <= _MOST_SECONDS and _MIN_RATE <= images / seconds <= _MAX_RATE
