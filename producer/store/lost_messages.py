"""Find jobs without a message: neither queued nor held by a worker.

A worker that is killed between taking a message from its list and storing it as unacknowledged
loses the message, and no setting of kombu prevents that:
https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html#caveats
"""

import json
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import redis

_CHUNK: Final = 200
"""Messages per read: some hundreds of kilobytes."""
_RECHECK_SECONDS: Final = 1.0
"""Time between two checks: a message that moves from a list to a worker is in neither place."""


def find_lost(server: redis.Redis, job_ids: Collection[str], *, queues: Sequence[str]) -> set[str]:
    """Return the jobs without a message, neither in the lists `queues` nor unacknowledged.

    Takes a second if any job seems lost, as these are checked twice. Raises `redis.RedisError`.
    """
    lost = set(job_ids)
    if lost:
        _remove_present(lost, server, queues)
    if lost:
        time.sleep(_RECHECK_SECONDS)
        _remove_present(lost, server, queues)
    return lost


def _remove_present(job_ids: set[str], server: redis.Redis, queues: Sequence[str]) -> None:
    """Remove the jobs that have a message from `job_ids`."""
    for queued_ids in _queued_ids(server, queues):
        job_ids -= queued_ids
        if not job_ids:
            return
    # Read after the lists: messages move from the lists to this hash, and return only after the
    # visibility timeout.
    for _, entry in server.hscan_iter("unacked", count=_CHUNK):
        job_ids.discard(_job_id(entry, unacknowledged=True))


def _queued_ids(server: redis.Redis, queues: Sequence[str]) -> Iterator[set[str]]:
    for queue in queues:
        start = 0
        # Read from the end where messages are pushed: a push shifts messages towards the unread
        # part, and a message popped at the other end is found among the unacknowledged ones.
        while messages := server.lrange(queue, start, start + _CHUNK - 1):
            chunk: Any = messages
            yield {_job_id(message, unacknowledged=False) for message in chunk}
            start += _CHUNK


def _job_id(entry: str, *, unacknowledged: bool) -> str:
    """Return the job's id in a kombu message; empty if the entry is not a message."""
    try:
        value: Any = json.loads(entry)
        headers: Any = (value[0] if unacknowledged else value)["headers"]
        return str(headers["id"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return ""
