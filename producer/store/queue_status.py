"""The state of the queues, read from the broker without asking a worker."""

import base64
import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import redis

from producer.store.routes import Routes

log = logging.getLogger(__name__)

OTHER: Final = "other"
"""The name for unacknowledged messages that came from other queues than Cutwork's."""
_CHUNK: Final = 200
"""Messages per read: some hundreds of kilobytes."""


@dataclass(frozen=True, kw_only=True)
class QueueStatus:
    """The state of one queue, or of all queues together, at one moment."""

    priorities: Mapping[int, int]
    """Messages that no worker has taken yet, by priority; 0 is delivered first."""
    in_flight: int
    """Unacknowledged deliveries, those of dead workers included."""
    oldest_waiting: float | None = None
    """Seconds since the submission of the oldest waiting job; None if none waits."""

    @property
    def waiting(self) -> int:
        """Messages that no worker has taken yet, of all priorities."""
        return sum(self.priorities.values())


def queue_statuses(server: redis.Redis, *, routes: Routes) -> dict[str, QueueStatus]:
    """Return the status of each queue, and of `OTHER` if a worker holds a message of another one.

    A key that holds another type of value is not counted, but named in the log. A message that a
    worker takes meanwhile may be counted twice, but is never missed, because the lists are read
    before the unacknowledged messages. Raises `redis.RedisError`.
    """
    lists = routes.lists_by_queue()
    with server.pipeline(transaction=True) as pipe:
        for by_priority in lists.values():
            for name in by_priority.values():
                pipe.llen(name)
                # Workers take from the right end.
                pipe.lindex(name, -1)
        replies = iter(pipe.execute(raise_on_error=False))
    in_flight = _in_flight(server, queues=lists)
    statuses = {}
    for queue, by_priority in lists.items():
        lengths, ages = {}, []
        for priority, name in by_priority.items():
            lengths[priority] = _reply_unless_wrong_type(next(replies), name=name) or 0
            ages.append(_age(_reply_unless_wrong_type(next(replies), name=name)))
        statuses[queue] = QueueStatus(
            priorities=lengths, in_flight=in_flight.pop(queue, 0), oldest_waiting=_oldest(ages)
        )
    if in_flight:
        statuses[OTHER] = QueueStatus(priorities={}, in_flight=in_flight[OTHER])
    return statuses


def combine(statuses: Iterable[QueueStatus]) -> QueueStatus:
    """Return the status of several queues together."""
    parts = list(statuses)
    priorities: Counter[int] = Counter()
    for status in parts:
        priorities.update(status.priorities)
    return QueueStatus(
        priorities=priorities,
        in_flight=sum(status.in_flight for status in parts),
        oldest_waiting=_oldest(status.oldest_waiting for status in parts),
    )


def _in_flight(server: redis.Redis, *, queues: Iterable[str]) -> Counter[str]:
    """Count unacknowledged messages by queue; a scan may return the same message several times."""
    by_tag: dict[Any, str] = {}
    try:
        for tag, entry in server.hscan_iter("unacked", count=_CHUNK):
            by_tag[tag] = _queue_of(entry)
    except redis.ResponseError as error:
        _reply_unless_wrong_type(error, name="unacked")
    known = set(queues)
    return Counter(name if name in known else OTHER for name in by_tag.values())


def _reply_unless_wrong_type(reply: Any, *, name: str) -> Any:
    """Return a command's reply; None if the key holds another type of value."""
    if not isinstance(reply, Exception):
        return reply
    if not str(reply).startswith("WRONGTYPE"):
        raise reply
    log.warning("%s is not counted: expected what Celery keeps there, found %s", name, reply)
    return None


def _queue_of(entry: str | bytes) -> str:
    """Return the routing key of an unacknowledged message; empty if the entry is not a message."""
    try:
        _message, _exchange, queue = json.loads(entry)
    except (ValueError, TypeError, RecursionError):
        return ""
    return queue if isinstance(queue, str) else ""


def _oldest(ages: Iterable[float | None]) -> float | None:
    return max((age for age in ages if age is not None), default=None)


def _age(message: str | bytes | None) -> float | None:
    """Return the seconds since the submission of the job in a kombu message; None without a job."""
    if message is None:
        return None
    try:
        envelope: Any = json.loads(message)
        body = base64.b64decode(envelope["body"])
        if envelope["content-type"] == "application/data":
            # Signed. An age is only displayed, so the signature is not verified.
            body = base64.b64decode(body).split(b"\0\1", 4)[4]
        (job, *_), *_ = json.loads(body)
        submitted_at = float(job["submitted_at"])
        # Messages are untrusted: the result must be a number, and not negative.
        return max(0.0, time.time() - submitted_at) if submitted_at >= 0 else None
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return None
