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
        self._server = server
        self._begin = server.register_script(
            (Path(__file__).parent / "deliver.lua").read_text(encoding="utf-8")
        )

    def begin(self, job_id: str, *, visibility_timeout: float) -> Delivery:
        """Count that a worker begins a job."""
        found: Any = self._begin(
            keys=[delivery_key(job_id)], args=[visibility_timeout, _KEPT_SECONDS]
        )
        return Delivery(int(found[0]), str(found[1]) or None)

    def reached(self, job_id: str, stage: str) -> None:
        """Write down where a job is, in case nobody hears of it again."""
        self._server.hset(delivery_key(job_id), "stage", stage)

    def failed(self, job_id: str) -> None:
        """Have the next delivery counted however soon it comes: this one's worker ends."""
        self._server.hset(delivery_key(job_id), "at", 0)

    def undo(self, job_id: str) -> None:
        """Take a delivery back whose worker ended it in order: the next one is not its fault."""
        with self._server.pipeline(transaction=True) as pipe:
            pipe.hincrby(delivery_key(job_id), "number", -1)
            pipe.hset(delivery_key(job_id), "at", 0)
            pipe.expire(delivery_key(job_id), _KEPT_SECONDS)
            pipe.execute()


def delivery_key(job_id: str) -> str:
    """Where a job's count is; an outcome deletes it."""
    return f"cutwork:delivery:{job_id}"
