"""How the queue stands, read from the broker without a worker's help."""

import base64
import json
import time
from dataclasses import dataclass
from typing import Any

import redis


@dataclass(frozen=True, kw_only=True)
class QueueStatus:
    """One look at the queue."""

    waiting: int
    """Messages no worker has taken yet, over every priority."""
    in_flight: int
    """Messages taken and not acknowledged, those of dead workers included."""
    oldest_waiting: float | None
    """Seconds since the oldest waiting job was submitted; None when nothing waits."""


def queue_status(server: redis.Redis, *, names: list[str]) -> QueueStatus:
    """Count the queue's lists; workers take from their right end."""
    with server.pipeline(transaction=True) as pipe:
        for name in names:
            pipe.llen(name)
            pipe.lindex(name, -1)
        pipe.zcard("unacked_index")
        *lists, in_flight = pipe.execute()
    ages = [_submitted_at(message) for message in lists[1::2] if message is not None]
    known = [age for age in ages if age is not None]
    return QueueStatus(
        waiting=sum(lists[0::2]),
        in_flight=in_flight,
        oldest_waiting=max(0.0, time.time() - min(known)) if known else None,
    )


def _submitted_at(message: bytes) -> float | None:
    """When the job inside a kombu message was submitted; None for a message that is no job."""
    try:
        envelope: Any = json.loads(message)
        body = base64.b64decode(envelope["body"])
        if envelope["content-type"] == "application/data":
            # Signed; what is only shown is not verified here.
            body = base64.b64decode(body).split(b"\0\1", 4)[4]
        (job, *_), *_ = json.loads(body)
        return float(job["submitted_at"])
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return None
