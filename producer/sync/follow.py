"""Follow a run from any process: progress, throughput and time remaining."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import redis

from producer.contract.run import Failure, RunRecord
from producer.store.runs import PAGE_FAILURES, RunLedger

_THROUGHPUT_SECONDS: Final = 30.0
"""The period over which throughput is measured."""


class RunProgress(NamedTuple):
    """The progress of a run at one moment."""

    record: RunRecord
    failures: list[Failure]
    """The failures since the previous progress, at most 1,000."""
    images_per_second: float
    """Outcomes per second in the last half minute; the record has those of the whole run."""
    megapixels_per_second: float
    remaining: float | None
    """Seconds until the last outcome; None while the total is unknown or nothing is finished."""


def follow_progress(
    ledger: RunLedger, run: str, *, every: float, is_over: Callable[[], bool]
) -> Iterator[RunProgress]:
    """Yield the progress every `every` seconds, and once more when `is_over` or the run ends.

    Yields nothing while Redis cannot be reached, and retries.
    """
    samples: deque[tuple[float, int, int]] = deque()
    failures = 0
    is_last = False
    while not is_last:
        try:
            is_last = is_over()
            record = ledger.summary(run)
            new_failures = ledger.failures(run, start=failures)
        except (redis.ConnectionError, redis.TimeoutError):
            if not is_last:
                time.sleep(every)
            continue
        failures += len(new_failures)
        has_all_failures = len(new_failures) < PAGE_FAILURES
        is_last = has_all_failures and (is_last or record.state != "running")
        samples.append((time.monotonic(), outcome_count(record), record.pixels))
        while len(samples) > 2 and samples[-1][0] - samples[0][0] > _THROUGHPUT_SECONDS:
            samples.popleft()
        (start, first_images, first_pixels), (end, images, pixels) = samples[0], samples[-1]
        seconds = (end - start) or math.inf  # The first sample has no throughput.
        rate, pixel_rate = (images - first_images) / seconds, (pixels - first_pixels) / seconds
        remaining = None
        if record.total is not None and rate > 0:
            remaining = (record.total - outcome_count(record)) / rate
        yield RunProgress(record, new_failures, rate, pixel_rate / 1e6, remaining)
        if not is_last and has_all_failures:
            time.sleep(every)


def outcome_count(record: RunRecord) -> int:
    """Return the number of jobs that have an outcome."""
    return record.counts.sent - record.counts.in_flight
