"""The number of deliveries of each pending job, in Redis.

The message of a worker that died is delivered again, and a poison message would be so for ever: no
broker on Redis counts deliveries. They are counted here by the job's id, from the moment a worker
begins the job until the job has an outcome. `worker/runtime/tasks.py` decides when it is poison.
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

import redis

_EXPIRY_SECONDS: Final = 7 * 86_400
"""How long a count outlives its last delivery, for a job that never gets an outcome."""


class Delivery(NamedTuple):
    """One delivery of a job."""

    number: int
    """From 1: how many workers have begun the job without ending it, this one included."""
    stage: str | None
    """The stage that the last of the earlier deliveries had reached, if it was recorded."""
    is_cancelled: bool = False
    """Whether the job was cancelled, so that it must not begin; it was not counted then."""


class Deliveries:
    """The delivery counts in one Redis database. Every method raises `redis.RedisError`."""

    def __init__(self, server: redis.Redis) -> None:
        self._server = server
        folder = Path(__file__).parent / "scripts"
        self._count, self._touch, self._release = (
            server.register_script((folder / f"{name}_delivery.lua").read_text(encoding="utf-8"))
            for name in ("count", "touch", "release")
        )

    def count_unfinished(self, job_id: str) -> int:
        """Return how many workers have begun the job without ending it."""
        try:
            number: Any = self._server.hget(delivery_key(job_id), "number")
            return int(number or 0)
        except (redis.ResponseError, ValueError):
            return 0  # Another program wrote this value; the next delivery counts from 1.

    def count_delivery(self, job_id: str, *, visibility_timeout: float) -> Delivery:
        """Count that a worker begins the job, and return the delivery.

        A cancelled job does not begin and is not counted; `is_cancelled` says so.

        A delivery within half of `visibility_timeout` (seconds) of the last sign of life is a copy
        of a message whose worker lives, and is not counted.
        """
        arguments = [visibility_timeout, _EXPIRY_SECONDS]
        reply: Any = self._count(keys=[delivery_key(job_id), cancelled_key(job_id)], args=arguments)
        return Delivery(int(reply[0]), str(reply[1]) or None, bool(reply[2]))

    def touch(self, job_id: str, *, stage: str = "") -> None:
        """Record that the job's worker lives, and the job's stage, in case the worker dies."""
        self._touch(keys=[delivery_key(job_id)], args=[stage, _EXPIRY_SECONDS])

    def mark_failed(self, job_id: str, *, stage: str) -> None:
        """Record that the worker dies at this delivery: the next one counts, however soon."""
        self.touch(job_id, stage=stage)
        self._release(keys=[delivery_key(job_id)], args=[0, _EXPIRY_SECONDS])

    def release(self, job_id: str) -> None:
        """Subtract a delivery that its worker ended in order, as it says nothing about the job."""
        self._release(keys=[delivery_key(job_id)], args=[1, _EXPIRY_SECONDS])


def delivery_key(job_id: str) -> str:
    """Return the Redis key of a job's count; the job's outcome deletes it."""
    return f"cutwork:delivery:{job_id}"


def cancelled_key(job_id: str) -> str:
    """Return the Redis key that exists while a job must not begin."""
    return f"cutwork:cancelled:{job_id}"
