"""A worker's throughput, measured while it has enough to do."""

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
"""How long a thread without a job still counts as busy. When a batch ends, several threads wait for
their next job at once."""


@dataclass
class JobResult:
    """What became of a job."""

    cut_out: bool = False
    """Whether an image was cut out. Other jobs are quick or retried and are not measured."""


class Work(NamedTuple):
    """The work done for one queue."""

    images: int
    seconds: float
    """The time that a worker would take that consumed this queue alone."""


class ThroughputMeter:
    """Counts the images of each queue and their time, only while every thread has a job.

    A worker that waits for jobs does not show how fast it could be. The time of each job is divided
    by the number of threads, so that the throughput of a queue is that of a worker that consumes
    this queue alone. Thread-safe.
    """

    def __init__(self, *, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._threads = threads
        self._clock = clock
        self._running = 0
        self._last_update = clock()
        self._busy_seconds = 0.0
        """Seconds in which all threads were busy."""
        self._busy_until = -math.inf
        self._images: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, queue: str) -> Iterator[JobResult]:
        """Measure a job of a queue inside the block, which sets the result's `cut_out`."""
        with self._lock:
            self._update()
            self._running += 1
            start = self._busy_seconds
        result = JobResult()
        try:
            yield result
        finally:
            with self._lock:
                is_busy = self._update()
                self._running -= 1
                if result.cut_out:
                    seconds = (self._busy_seconds - start) / self._threads
                    self._seconds[queue] = self._seconds.get(queue, 0.0) + seconds
                    self._images[queue] += is_busy

    def pop_work(self) -> dict[str, Work]:
        """Return the work of each queue since the last call."""
        with self._lock:
            work = {
                queue: Work(self._images[queue], seconds)
                for queue, seconds in self._seconds.items()
                if seconds and self._images[queue]
            }
            for queue in work:
                del self._images[queue], self._seconds[queue]
            return work

    def report_forever(self, rates: ThroughputStore) -> None:
        """Add the work to the stored rates every five seconds, until the process ends."""
        while True:
            time.sleep(_REPORT_SECONDS)
            try:
                for queue, work in self.pop_work().items():
                    rates.add(queue, images=work.images, seconds=work.seconds)
            except redis.RedisError as error:
                # Not a warning: other users of the broker report that it does not answer.
                log.info("this worker's throughput was not stored: %s", error)

    def _update(self) -> bool:
        """Count the busy time since the last update; return whether all threads are busy."""
        now, before = self._clock(), self._last_update
        self._last_update = now
        if self._running >= self._threads:
            self._busy_until = now + _GAP_SECONDS
        self._busy_seconds += max(0.0, min(now, self._busy_until) - before)
        return now <= self._busy_until
