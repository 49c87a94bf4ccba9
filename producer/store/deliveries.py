"""How often each unanswered job was given to a worker, in Redis.

A message whose worker dies comes back, and would come back for ever if it is what kills: no broker
on Redis counts deliveries. They are counted here by the job's id, from the moment a worker begins
until there is an outcome.
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

import redis

_KEPT_SECONDS: Final = 7 * 86_400
"""How long a count outlives its last delivery, for a job that never gets an outcome."""


class Delivery(NamedTuple):
    """One delivery of a job."""

    number: int
    """From 1: how many workers have begun the job and not ended it, this one included."""
    stage: str | None
    """Where the last of them that was watched had got to."""


class Deliveries:
    """The counts in one Redis database; every method raises `redis.RedisError`."""

    def __init__(self, server: redis.Redis) -> None:
        folder = Path(__file__).parent / "scripts"

        def script(name: str) -> Any:
            return server.register_script((folder / name).read_text(encoding="utf-8"))

        self._server = server
        self._count = script("count_delivery.lua")
        self._touch = script("touch_delivery.lua")
        self._release = script("release_delivery.lua")

    def count_unfinished(self, job_id: str) -> int:
        """How many workers have begun the job and not ended it."""
        try:
            found: Any = self._server.hget(delivery_key(job_id), "number")
            return int(found or 0)
        except (redis.ResponseError, ValueError):
            return 0  # What somebody else wrote there; the next delivery begins at 1.

    def count_delivery(self, job_id: str, *, visibility_timeout: float) -> Delivery:
        """Count that a worker begins a job."""
        found: Any = self._count(
            keys=[delivery_key(job_id)], args=[visibility_timeout, _KEPT_SECONDS]
        )
        return Delivery(int(found[0]), str(found[1]) or None)

    def touch(self, job_id: str, *, stage: str = "") -> None:
        """Note that the job's worker lives, and where the job is, in case nobody hears of it."""
        self._touch(keys=[delivery_key(job_id)], args=[stage, _KEPT_SECONDS])

    def mark_failed(self, job_id: str) -> None:
        """Have the next delivery counted however soon it comes: this one's worker ends."""
        self._release(keys=[delivery_key(job_id)], args=[0, _KEPT_SECONDS])

    def release(self, job_id: str) -> None:
        """Take a delivery back whose worker ended it in order: the next one is not its fault."""
        self._release(keys=[delivery_key(job_id)], args=[1, _KEPT_SECONDS])


def delivery_key(job_id: str) -> str:
    """Where a job's count is; an outcome deletes it."""
    return f"cutwork:delivery:{job_id}"
