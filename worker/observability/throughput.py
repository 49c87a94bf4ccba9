"""How fast this worker is while it has as much to do as it can."""

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

import redis

from producer.store.throughput import ThroughputStore

log = logging.getLogger(__name__)

_REPORT_SECONDS: Final = 5.0
_GAP_SECONDS: Final = 1.0
"""A thread that has ended its job and waits for the next counts as at work for so long: where
batches end, several do."""


@dataclass
class Working:
    """A job that is worked on."""

    done: bool = False
    """Whether an image was cut out. Others are quick, or tried again: they say nothing."""


class Work(NamedTuple):
    """What was done of one queue."""

    images: int
    seconds: float
    """Of a worker that does nothing else."""


class ThroughputMeter:
    """Images that were cut out and what they took, counted only while every thread has a job.

    A worker that waits for jobs says nothing of how fast it could be. Each job's seconds are shared
    by the threads, so the rate of a queue is that of a worker which does nothing else. Safe to use
    from any thread.
    """

    def __init__(self, *, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._threads = threads
        self._clock = clock
        self._running = 0
        self._looked = clock()
        self._full = 0.0
        """Seconds in which all threads were at work."""
        self._full_until = -math.inf
        self._images: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def job(self, queue: str) -> Iterator[Working]:
        """Inside the block a job of a queue is worked on; say there whether it is done."""
        with self._lock:
            self._look()
            self._running += 1
            began = self._full
        working = Working()
        try:
            yield working
        finally:
            with self._lock:
                full = self._look()
                self._running -= 1
                if working.done:
                    spent = (self._full - began) / self._threads
                    self._seconds[queue] = self._seconds.get(queue, 0.0) + spent
                    self._images[queue] += full

    def taken(self) -> dict[str, Work]:
        """What was done since it was last asked."""
        with self._lock:
            found = {
                queue: Work(self._images[queue], seconds)
                for queue, seconds in self._seconds.items()
                if seconds and self._images[queue]
            }
            for queue in found:
                del self._images[queue], self._seconds[queue]
            return found

    def report(self, rates: ThroughputStore) -> None:
        """Until the process ends, tell all who look at the queue."""
        while True:
            time.sleep(_REPORT_SECONDS)
            try:
                for queue, work in self.taken().items():
                    rates.add(queue, images=work.images, seconds=work.seconds)
            except redis.RedisError as error:
                # Measured anew when it is back; whoever else uses the broker says so louder.
                log.info("this worker's rate was not written down: %s", error)

    def _look(self) -> bool:
        """Count the time since the last look, as far as all threads were at work; whether so."""
        now, before = self._clock(), self._looked
        self._looked = now
        if self._running >= self._threads:
            self._full_until = now + _GAP_SECONDS
        self._full += max(0.0, min(now, self._full_until) - before)
        return now <= self._full_until
