"""How the queues stand, read from the broker without a worker's help."""

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
"""The queue of what is held by a worker and came from none of ours."""
_CHUNK: Final = 200
"""Messages read at once: some hundreds of kilobytes."""


@dataclass(frozen=True, kw_only=True)
class QueueStatus:
    """One look at a queue, or at all of them."""

    priorities: Mapping[int, int]
    """Messages no worker has taken yet, by priority; 0 goes first."""
    in_flight: int
    """Messages taken and not acknowledged, those of dead workers included."""
    oldest_waiting: float | None
    """Seconds since the oldest waiting job was submitted; None when nothing waits."""

    @property
    def waiting(self) -> int:
        """Messages no worker has taken yet, over every priority."""
        return sum(self.priorities.values())


def queue_statuses(server: redis.Redis, *, routes: Routes) -> dict[str, QueueStatus]:
    """Every queue by name, with `OTHER` if a worker holds what came from none of them.

    What is no list or no hash is not counted; the log names it. A message that a worker takes
    meanwhile may be counted twice, but none is missed: lists are read before what is held.
    """
    lists = routes.lists_by_queue()
    with server.pipeline(transaction=True) as pipe:
        for steps in lists.values():
            for name in steps.values():
                pipe.llen(name)
                # Workers take from the right end.
                pipe.lindex(name, -1)
        answers = iter(pipe.execute(raise_on_error=False))
    held = _in_flight(server, queues=lists)
    found = {}
    for queue, steps in lists.items():
        lengths, oldest = {}, []
        for step, name in steps.items():
            lengths[step] = _reply_unless_wrong_type(next(answers), name=name) or 0
            oldest.append(_age(_reply_unless_wrong_type(next(answers), name=name)))
        found[queue] = QueueStatus(
            priorities=lengths, in_flight=held.pop(queue, 0), oldest_waiting=_oldest(oldest)
        )
    if held:
        found[OTHER] = QueueStatus(priorities={}, in_flight=held[OTHER], oldest_waiting=None)
    return found


def combine(statuses: Iterable[QueueStatus]) -> QueueStatus:
    """Several queues as if they were one."""
    every = list(statuses)
    priorities: Counter[int] = Counter()
    for status in every:
        priorities.update(status.priorities)
    return QueueStatus(
        priorities=priorities,
        in_flight=sum(status.in_flight for status in every),
        oldest_waiting=_oldest(status.oldest_waiting for status in every),
    )


def _in_flight(server: redis.Redis, *, queues: Iterable[str]) -> Counter[str]:
    """Messages held by workers, by queue; a message is listed once, however often it is scanned."""
    by_tag: dict[Any, str] = {}
    try:
        for tag, entry in server.hscan_iter("unacked", count=_CHUNK):
            by_tag[tag] = _queue_of(entry)
    except redis.ResponseError as error:
        _reply_unless_wrong_type(error, name="unacked")
    known = set(queues)
    return Counter(name if name in known else OTHER for name in by_tag.values())


def _reply_unless_wrong_type(answer: Any, *, name: str) -> Any:
    """The answer of one command; None where the key holds another kind of value."""
    if not isinstance(answer, Exception):
        return answer
    if not str(answer).startswith("WRONGTYPE"):
        raise answer
    log.warning("%s is not counted: expected what Celery keeps there, found %s", name, answer)
    return None


def _queue_of(entry: str | bytes) -> str:
    """The routing key of what a worker holds; empty for an entry that is none."""
    try:
        _message, _exchange, queue = json.loads(entry)
    except (ValueError, TypeError, RecursionError):
        return ""
    return queue if isinstance(queue, str) else ""


def _oldest(ages: Iterable[float | None]) -> float | None:
    return max((age for age in ages if age is not None), default=None)


def _age(message: str | bytes | None) -> float | None:
    """Seconds since the job inside a kombu message was submitted; None where there is none."""
    if message is None:
        return None
    try:
        envelope: Any = json.loads(message)
        body = base64.b64decode(envelope["body"])
        if envelope["content-type"] == "application/data":
            # Signed; what is only shown is not verified here.
            body = base64.b64decode(body).split(b"\0\1", 4)[4]
        (job, *_), *_ = json.loads(body)
        submitted_at = float(job["submitted_at"])
        # Whatever a stranger wrote there, an age is a number.
        return max(0.0, time.time() - submitted_at) if submitted_at >= 0 else None
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return None
