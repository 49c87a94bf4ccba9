"""Find messages that were sent and are nowhere any more.

A worker killed between taking a message from its list and writing it down as unacknowledged loses
it, and no setting of kombu's mends that:
https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html#caveats
"""

import json
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import redis

_CHUNK: Final = 200
"""Messages read at once: some hundreds of kilobytes."""
_MOMENT: Final = 1.0
"""Seconds between two looks: a message on its way from a list to a worker is in neither."""


def find_lost(server: redis.Redis, job_ids: Collection[str], *, queues: Sequence[str]) -> set[str]:
    """Which of the jobs have no message, neither waiting in `queues` nor held by any worker."""
    absent = set(job_ids)
    if absent:
        _remove_present(absent, server, queues)
    if absent:
        time.sleep(_MOMENT)
        _remove_present(absent, server, queues)
    return absent


def _remove_present(absent: set[str], server: redis.Redis, queues: Sequence[str]) -> None:
    """Leave only those that have no message."""
    for found in _queued_ids(server, queues):
        absent -= found
        if not absent:
            return
    # After the lists: a message goes from there to here, and comes back only when overdue.
    for _, entry in server.hscan_iter("unacked", count=_CHUNK):
        absent.discard(_job_id(entry, held=True))


def _queued_ids(server: redis.Redis, queues: Sequence[str]) -> Iterator[set[str]]:
    for queue in queues:
        start = 0
        # From the end where messages are pushed: a push moves others on to what is still unread,
        # and what is popped at the far end is looked for among the unacknowledged.
        while messages := server.lrange(queue, start, start + _CHUNK - 1):
            found: Any = messages
            yield {_job_id(message, held=False) for message in found}
            start += _CHUNK


def _job_id(entry: str, *, held: bool) -> str:
    """The id in a kombu message; empty for an entry that is none."""
    try:
        value: Any = json.loads(entry)
        headers: Any = (value[0] if held else value)["headers"]
        return str(headers["id"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return ""
