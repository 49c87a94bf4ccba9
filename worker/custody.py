"""The messages this worker has taken and not answered, and how to give them back."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from kombu.exceptions import KombuError

from producer.deliveries import Deliveries
from worker.transport import QoS

log = logging.getLogger(__name__)


class Custody:
    """What Celery's consumer holds; safe to use from any thread.

    A message that is given back is the next to be taken by another worker. Whatever Celery does
    with it afterwards finds nothing, and does nothing.
    """

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._consumer: Any = None
        self._running: dict[str, str] = {}
        self._lock = threading.Lock()

    def watch(self, consumer: Any) -> None:
        """Look after the messages of Celery's consumer, through all its connections."""
        self._consumer = consumer

    @contextmanager
    def running(self, tag: str, job_id: str) -> Iterator[None]:
        """Inside the block the message's job runs."""
        with self._lock:
            self._running[tag] = job_id
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(tag, None)

    def acknowledge(self, tag: str) -> None:
        """Answer for a message here and now; Celery, while it ends, would only at the very end."""
        if qos := self._qos():
            qos.ack(tag)

    def give_back_waiting(self) -> int:
        """Give back what has not begun: delayed retries, and what waits for a thread."""
        with self._lock:
            running = set(self._running)
        return self._give_back(keep=running)

    def give_back_all(self, *, hung: frozenset[str] = frozenset()) -> int:
        """Give back everything, except the jobs that are to count as this worker's end."""
        with self._lock:
            running = dict(self._running)
        given = self._give_back(keep={tag for tag, job in running.items() if job in hung})
        for job_id in set(running.values()) - hung:
            self._deliveries.undo(job_id)
        return given

    def _give_back(self, *, keep: set[str]) -> int:
        qos = self._qos()
        if qos is None:
            return 0
        tags = qos.held() - keep
        for tag in tags:
            qos.restore_by_tag(tag)
        return len(tags)

    def _qos(self) -> QoS | None:
        consumer = getattr(self._consumer, "task_consumer", None)
        found = consumer.channel.qos if consumer is not None else None
        return found if isinstance(found, QoS) else None


UNREACHABLE = (redis.RedisError, KombuError, OSError)
"""What giving back raises when the broker does not answer; the messages come back by themselves."""
