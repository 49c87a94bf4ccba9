"""A worker's throughput while it has enough to do."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import pytest

from worker.observability.throughput import JobResult, ThroughputMeter, Work

Block = AbstractContextManager[JobResult]


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def play(throughput: ThroughputMeter, clock: Clock, jobs: list[tuple[float, float, str]]) -> None:
    """Simulate jobs of (start, end, queue); jobs of the queue `skipped` cut out no image."""
    moments: list[tuple[float, Callable[[], object]]] = []
    for begins, ends, queue in jobs:
        block = throughput.measure(queue)

        def begin(block: Block = block, queue: str = queue) -> None:
            block.__enter__().cut_out = queue != "skipped"

        moments += [(begins, begin), (ends, partial(block.__exit__, None, None, None))]
    for clock.now, happens in sorted(moments, key=lambda moment: moment[0]):
        happens()


def test_only_the_time_in_which_all_threads_work_counts() -> None:
    clock = Clock()
    throughput = ThroughputMeter(threads=2, clock=clock)
    # Both threads are busy from 4 to 8, and a thread counts as busy for one more second.
    play(throughput, clock, [(0, 10, "a"), (4, 8, "a"), (20, 30, "a")])
    assert throughput.pop_work() == {"a": Work(images=1, seconds=(4 + 5) / 2)}
    assert throughput.pop_work() == {}


def test_skipped_jobs_are_not_measured() -> None:
    """A thousand skipped jobs do not make a worker faster."""
    clock = Clock()
    throughput = ThroughputMeter(threads=2, clock=clock)
    skipped = [(n * 0.01, n * 0.01 + 0.01, "skipped") for n in range(1000)]
    play(throughput, clock, [*skipped, *((n * 1.0, n + 1.0, "a") for n in range(10))])
    work = throughput.pop_work()
    assert (list(work), work["a"].images) == (["a"], 10)
    assert work["a"].seconds == pytest.approx(5)


def test_jobs_of_a_batch_that_end_at_once_count() -> None:
    """A batch of four ends every two seconds, with a tenth of a second between batches."""
    clock = Clock()
    throughput = ThroughputMeter(threads=4, clock=clock)
    play(throughput, clock, [(n * 2.0, n * 2.0 + 1.9, "a") for n in range(50) for _ in range(4)])
    work = throughput.pop_work()["a"]
    assert work.images / work.seconds == pytest.approx(4 / 2, rel=0.1)


def test_a_job_without_an_outcome_is_not_measured() -> None:
    clock = Clock()
    throughput = ThroughputMeter(threads=1, clock=clock)

    def fails() -> None:
        with throughput.measure("a"):
            clock.now = 3
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    play(throughput, clock, [(3, 5, "a")])
    assert throughput.pop_work() == {"a": Work(images=1, seconds=2)}


def test_each_queue_has_the_throughput_of_a_worker_that_consumes_it_alone() -> None:
    """Three of four threads run jobs of 2 s, one runs jobs of 8 s."""
    clock = Clock()
    throughput = ThroughputMeter(threads=4, clock=clock)
    quick = [(n * 2.0, n * 2.0 + 2, "quick") for n in range(100) for _ in range(3)]
    slow = [(n * 8.0, n * 8.0 + 8, "slow") for n in range(25)]
    play(throughput, clock, sorted([*quick, *slow], key=lambda job: job[:2]))
    work = throughput.pop_work()
    assert work["quick"].images / work["quick"].seconds == pytest.approx(4 / 2, rel=0.1)
    assert work["slow"].images / work["slow"].seconds == pytest.approx(4 / 8, rel=0.1)
