"""The messages this worker has taken and not answered, and how to give them back."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from celery.exceptions import Reject
from kombu.exceptions import KombuError

from producer.deliveries import Deliveries
from worker.transport import QoS

log = logging.getLogger(__name__)

_QUIET_SECONDS: Final = 4.0
"""Celery stops to consume within two seconds of its signal."""

UNREACHABLE = (redis.RedisError, KombuError, OSError)
"""What giving back raises when the broker does not answer; the messages come back by themselves."""


class Custody:
    """What Celery's consumer holds; safe to use from any thread.

    A message that is given back is the next to be taken by another worker. Whatever Celery does
    with it afterwards finds nothing, and does nothing.
    """

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._consumer: Any = None
        self._running: dict[str, str] = {}
        self._answered: set[str] = set()
        self._ending = False
        self._lock = threading.Lock()

    def watch(self, consumer: Any) -> None:
        """Look after the messages of Celery's consumer, through all its connections."""
        self._consumer = consumer

    @contextmanager
    def running(self, tag: str, job_id: str) -> Iterator[None]:
        """Inside the block a message's job runs; it is answered for unless `Reject` is raised."""
        with self._lock:
            self._running[tag] = job_id
        answered = True
        try:
            yield
        except Reject:
            answered = False
            raise
        finally:
            qos = self._qos()
            with self._lock:
                self._running.pop(tag, None)
                if answered and qos is not None:
                    # Celery acknowledges a moment later: only those moments are remembered.
                    self._answered = (self._answered | {tag}) & qos.held()
                ending = self._ending
            if answered and ending:
                self._acknowledge(qos, {tag})

    def give_back_waiting(self) -> int:
        """Give back what has not begun: delayed retries, and what waits for a thread."""
        with self._lock:
            self._ending = True
            keep = set(self._running)
        return self._give_back(keep=keep)

    def give_back_all(self, *, blamed: bool) -> int:
        """Give everything back; `blamed`: what runs counts as delivered in vain."""
        with self._lock:
            running = set(self._running.values())
        given = self._give_back(keep=set())
        for job_id in running:
            if blamed:
                self._deliveries.failed(job_id)
            else:
                self._deliveries.undo(job_id)
        return given

    def _give_back(self, *, keep: set[str]) -> int:
        qos = self._qos()
        if qos is None:
            return 0
        # What is given back before would be the next that this worker takes.
        qos.channel.quiet.wait(_QUIET_SECONDS)
        with self._lock:
            answered = set(self._answered)
        # Celery, once it ends, would acknowledge them at the very end.
        self._acknowledge(qos, answered)
        tags = qos.held() - keep - answered
        for tag in tags:
            qos.restore_by_tag(tag)
        return len(tags)

    def _acknowledge(self, qos: QoS | None, tags: set[str]) -> None:
        if qos is None:
            return
        try:
            for tag in tags:
                qos.ack(tag)
        except UNREACHABLE as error:
            log.warning("the broker was not told that %d jobs are done: %s", len(tags), error)

    def _qos(self) -> QoS | None:
        consumer = getattr(self._consumer, "task_consumer", None)
        found = consumer.channel.qos if consumer is not None else None
        return found if isinstance(found, QoS) else None
