"""The messages this worker has taken and not answered, and how to give them back."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from celery.exceptions import Reject
from kombu.exceptions import KombuError

from producer.store.ledger import Ledger
from worker.broker.redis_transport import QoS

log = logging.getLogger(__name__)

_SHORTEST_PAUSE: Final = 0.2
_QUIET_SECONDS: Final = 4.0
"""Celery stops to consume within two seconds of its signal."""

UNREACHABLE = (redis.RedisError, KombuError, OSError)
"""What giving back raises when the broker does not answer; the messages come back by themselves."""


class UnackedDeliveries:
    """What Celery's consumer holds; safe to use from any thread.

    A message that is given back is the next to be taken by another worker. Whatever Celery does
    with it afterwards finds nothing, and does nothing.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._deliveries = ledger.deliveries
        self._consumer: Any = None
        self._running: dict[str, str] = {}
        self._answered: set[str] = set()
        self._lock = threading.Lock()

    def watch(self, consumer: Any) -> None:
        """Look after the messages of Celery's consumer, through all its connections."""
        self._consumer = consumer

    @contextmanager
    def holding(self, tag: str) -> Iterator[None]:
        """Inside the block a message is dealt with, and answered for unless `Reject` is raised."""
        try:
            yield
        except Reject:
            raise
        except BaseException:  # a retry too: Celery acknowledges all but `Reject`
            self._is_answered(tag)
            raise
        self._is_answered(tag)

    @contextmanager
    def running(self, tag: str, job_id: str) -> Iterator[None]:
        """Inside the block the message's job runs, and does not only wait to."""
        with self._lock:
            self._running[tag] = job_id
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(tag, None)

    def count(self) -> int:
        """How many jobs run."""
        return len(self._running)

    def keep(self, *, visibility_timeout: float) -> None:
        """Until the process ends, keep what it holds from being given to others.

        What a job takes is nobody's to know beforehand. A process that is killed or stopped says
        nothing more, and loses its messages when the visibility timeout is over.
        """
        while True:
            time.sleep(max(_SHORTEST_PAUSE, visibility_timeout / 4))
            try:
                if qos := self._qos():
                    qos.renew(self._ledger)
                with self._lock:
                    running = set(self._running.values())
                for job_id in running:
                    self._deliveries.touch(job_id)
            except UNREACHABLE as error:
                log.info("the broker was not told that this worker lives: %s", error)
            except Exception:  # without this thread every long job is done twice
                log.exception("the broker was not told that this worker lives")

    def give_back_waiting(self) -> int:
        """Give back what has not begun: delayed retries, and what waits for a thread."""
        with self._lock:
            keep = set(self._running)
        return self._give_back(keep=keep)

    def give_back_all(self, *, blamed: bool) -> int:
        """Give everything back; `blamed`: what runs counts as delivered in vain."""
        with self._lock:
            running = set(self._running.values())
        given = self._give_back(keep=set())
        for job_id in running:
            if blamed:
                self._deliveries.mark_failed(job_id)
            else:
                self._deliveries.release(job_id)
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
        for tag in answered:
            qos.finish(tag, self._ledger)
        tags = qos.held() - keep - answered
        for tag in tags:
            qos.give_back(tag, self._ledger)
        return len(tags)

    def _is_answered(self, tag: str) -> None:
        qos = self._qos()
        if qos is not None:
            with self._lock:
                # Celery acknowledges a moment later: only those moments are remembered.
                self._answered = (self._answered | {tag}) & qos.held()

    def _qos(self) -> QoS | None:
        consumer = getattr(self._consumer, "task_consumer", None)
        found = consumer.channel.qos if consumer is not None else None
        return found if isinstance(found, QoS) else None
