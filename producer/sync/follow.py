"""Look at a run again and again, from any process: how far, how fast, how long yet."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import redis

from producer.contract.run import Failure, RunRecord
from producer.store.runs import RunLedger

_SPEED_SECONDS: Final = 30.0
"""How far back the speed is measured."""


class RunProgress(NamedTuple):
    """One look at a run."""

    record: RunRecord
    failures: list[Failure]
    """New since the look before."""
    images_per_second: float
    """Outcomes of the last half minute; over the whole run in its record."""
    megapixels_per_second: float
    remaining: float | None
    """Seconds, None while it is not known how much there is or nothing moves."""


def follow_progress(
    ledger: RunLedger, run: str, *, every: float, over: Callable[[], bool]
) -> Iterator[RunProgress]:
    """Look every so many seconds until `over` says so or the run has ended, then once more.

    While Redis cannot be reached nothing is yielded: it may come back.
    """
    samples: deque[tuple[float, int, int]] = deque()
    failures = 0
    is_last = False
    while not is_last:
        try:
            is_last = over()
            record = ledger.summary(run)
            new_failures = _new_failures(ledger, run, failures)
        except (redis.ConnectionError, redis.TimeoutError):
            if not is_last:
                time.sleep(every)
            continue
        failures += len(new_failures)
        is_last = is_last or record.state != "running"
        samples.append((time.monotonic(), outcome_count(record), record.pixels))
        while len(samples) > 2 and samples[-1][0] - samples[0][0] > _SPEED_SECONDS:
            samples.popleft()
        images, pixels = _speed(samples)
        remaining = record.total - outcome_count(record) if record.total is not None else None
        yield RunProgress(
            record=record,
            failures=new_failures,
            images_per_second=images,
            megapixels_per_second=pixels / 1e6,
            remaining=remaining / images if remaining is not None and images > 0 else None,
        )
        if not is_last:
            time.sleep(every)


def outcome_count(record: RunRecord) -> int:
    """Jobs that have an outcome."""
    return record.counts.sent - record.counts.in_flight


def _speed(samples: deque[tuple[float, int, int]]) -> tuple[float, float]:
    (start, images, pixels), (end, images_now, pixels_now) = samples[0], samples[-1]
    spent = end - start
    return ((images_now - images) / spent, (pixels_now - pixels) / spent) if spent else (0.0, 0.0)


def _new_failures(ledger: RunLedger, run: str, start: int) -> list[Failure]:
    failures: list[Failure] = []
    while page := ledger.failures(run, start=start + len(failures)):
        failures += page
    return failures
