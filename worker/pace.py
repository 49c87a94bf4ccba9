"""How fast this worker is while it has as much to do as it can."""

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import redis

from producer.rates import Rates

log = logging.getLogger(__name__)

_REPORT_SECONDS: Final = 5.0
_GAP_SECONDS: Final = 1.0
"""A thread that has ended its job and waits for the next counts as at work for so long: where
batches end, several do."""


class Work(NamedTuple):
    """What was done of one queue."""

    images: int
    """Jobs that got an outcome, of whatever kind: each is one less that waits."""
    seconds: float


class Pace:
    """Images and seconds by queue, counted only while every thread has a job.

    A worker that waits for jobs says nothing of how fast it could be. The seconds of a moment are
    shared by the queues as the threads are, so the rate of each is that of a worker which does
    nothing else. Safe to use from any thread.
    """

    def __init__(self, *, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._threads = threads
        self._clock = clock
        self._running: Counter[str] = Counter()
        self._full: Counter[str] = Counter()
        """What ran when all threads were last at work."""
        self._full_until = -math.inf
        self._images: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        self._looked = clock()
        self._lock = threading.Lock()

    @contextmanager
    def job(self, queue: str) -> Iterator[None]:
        """Inside the block a job of a queue is worked on; with an exception it has no outcome."""
        with self._lock:
            self._look()
            self._running[queue] += 1
        answered = 0
        try:
            yield
            answered = 1
        finally:
            with self._lock:
                if self._look():
                    self._images.update([queue] * answered)
                self._running -= Counter([queue])

    def taken(self) -> dict[str, Work]:
        """What was done since it was last asked; of a queue without an outcome yet, later."""
        with self._lock:
            self._look()
            done = [name for name in self._images if self._seconds.get(name)]
            found = {name: Work(self._images[name], self._seconds.pop(name)) for name in done}
            self._images.clear()
            return found

    def report(self, rates: Rates) -> None:
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
        if self._running.total() >= self._threads:
            self._full, self._full_until = self._running.copy(), now + _GAP_SECONDS
        counted = min(now, self._full_until) - before
        if counted > 0:
            for queue, threads in self._full.items():
                share = counted * threads / self._full.total()
                self._seconds[queue] = self._seconds.get(queue, 0.0) + share
        return now <= self._full_until
