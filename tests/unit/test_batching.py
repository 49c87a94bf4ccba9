"""The batcher: how batches form, which item gets which error, and what happens without memory."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from worker.models.batching import Batcher, TimedResult


class NoMemory(Exception):
    """The device's error for a batch that does not fit."""


class Device:
    """Doubles at most `fits` numbers per batch, and runs none while `go` is cleared."""

    def __init__(self, *, max_batch: int = 8, fits: int = 100, freed: int = 0) -> None:
        self.batches: list[list[int]] = []
        self.times_freed = 0
        self.busy = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self._fits = fits
        self._freed = freed
        self.batcher = Batcher(
            self.run,
            max_batch=lambda _: max_batch,
            group_key=lambda number: number > 1000,
            is_out_of_memory=lambda error: isinstance(error, NoMemory),
            free_memory=self.free_memory,
        )

    def run(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        self.busy.set()
        self.go.wait()
        if len(numbers) > self._fits:
            raise NoMemory(f"{len(numbers)} do not fit")
        if -1 in numbers:
            raise ValueError("-1 cannot be doubled")
        if -2 in numbers:
            raise KeyboardInterrupt
        return [2 * number for number in numbers if number != -3]

    def free_memory(self) -> None:
        self.times_freed += 1
        self._fits += self._freed

    def one(self, number: int) -> int:
        return self.batcher.wait(self.batcher.submit(number)).result


@contextmanager
def queued(device: Device, numbers: Sequence[int]) -> Iterator[list[Future[TimedResult[int]]]]:
    """Yield the futures of numbers that are queued while the device is busy with 0."""
    device.go.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(device.one, 0)
        device.busy.wait()
        futures = [device.batcher.submit(number) for number in numbers]
        yield futures
        device.go.set()
        assert first.result() == 0


def outcome(device: Device, future: Future[TimedResult[int]]) -> int | str:
    try:
        return device.batcher.wait(future).result
    except Exception as error:  # noqa: BLE001 - the test compares the error
        return str(error)


def outcomes(device: Device, futures: Sequence[Future[TimedResult[int]]]) -> list[int | str]:
    """Return each item's result or error, with one thread waiting for each."""
    with ThreadPoolExecutor(len(futures)) as pool:
        return list(pool.map(lambda future: outcome(device, future), futures))


def test_an_idle_batcher_runs_an_item_at_once() -> None:
    device = Device()
    assert [device.one(number) for number in (1, 2, 3)] == [2, 4, 6]
    assert device.batches == [[1], [2], [3]]


def test_items_queued_during_a_batch_form_the_next_one() -> None:
    device = Device(max_batch=4)
    with queued(device, range(1, 8)) as futures:
        pass
    assert outcomes(device, futures) == [2 * number for number in range(1, 8)]
    assert device.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]


def test_a_batch_has_one_group_key_and_begins_with_the_oldest_item() -> None:
    device = Device()
    with queued(device, [1, 2001, 2, 2002, 3]) as futures:
        pass
    assert outcomes(device, futures) == [2, 4002, 4, 4004, 6]
    assert device.batches == [[0], [1, 2, 3], [2001, 2002]]


def test_each_of_many_threads_gets_its_own_result() -> None:
    device = Device(max_batch=3)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(device.one, range(500))) == list(range(0, 1000, 2))
    assert sorted(number for batch in device.batches for number in batch) == list(range(500))
    assert max(map(len, device.batches)) <= 3


def test_cancelled_items_do_not_run() -> None:
    device = Device()
    with queued(device, [1, 2, 3]) as futures:
        assert futures[1].cancel()
    assert device.batcher.wait(futures[0]).result == 2
    with pytest.raises(CancelledError):
        device.batcher.wait(futures[1])
    assert not futures[2].cancel()
    assert device.batches == [[0], [1, 3]]


def test_cancelled_items_alone_make_no_batch() -> None:
    device = Device()
    with queued(device, [1, 2]) as futures:
        assert all(future.cancel() for future in futures)
    assert device.one(3) == 6
    assert device.batches == [[0], [3]]


def test_a_bad_item_fails_alone() -> None:
    device = Device()
    with queued(device, [1, 2, -1, 3, 4]) as futures:
        pass
    assert outcomes(device, futures) == [2, 4, "-1 cannot be doubled", 6, 8]
    assert device.batches == [[0], [1, 2, -1, 3, 4], [1, 2], [-1, 3, 4], [-1], [3, 4]]
    assert device.times_freed == 0


def test_too_few_results_are_an_error_of_the_item_without_one() -> None:
    device = Device()
    with queued(device, [1, -3]) as futures:
        pass
    assert outcomes(device, futures) == [2, "expected 1 results, found 0"]


def test_out_of_memory_halves_the_batch_down_to_single_items() -> None:
    device = Device(fits=1)
    with queued(device, [1, 2, 3, 4]) as futures:
        pass
    assert outcomes(device, futures) == [2, 4, 6, 8]
    assert device.batches == [[0], [1, 2, 3, 4], [1, 2], [1], [2], [3, 4], [3], [4]]
    assert device.times_freed == 1


def test_memory_is_freed_before_a_smaller_batch_is_tried() -> None:
    device = Device(fits=1, freed=1)
    with queued(device, [1, 2, 3, 4]) as futures:
        pass
    assert outcomes(device, futures) == [2, 4, 6, 8]
    assert device.batches == [[0], [1, 2, 3, 4], [1, 2], [3, 4]]


@pytest.mark.parametrize("freed", [0, 1])
def test_a_single_item_is_tried_once_more_and_then_fails(freed: int) -> None:
    device = Device(fits=0, freed=freed)
    assert outcome(device, device.batcher.submit(1)) == (2 if freed else "1 do not fit")
    assert device.batches == [[1], [1]]
    assert device.times_freed == 1


def test_the_next_batch_has_its_full_size_again() -> None:
    device = Device(max_batch=2, fits=1)
    with queued(device, [1, 2, 3, 4]) as futures:
        pass
    assert outcomes(device, futures) == [2, 4, 6, 8]
    assert device.batches == [[0], [1, 2], [1], [2], [3, 4], [3], [4]]
    assert device.times_freed == 2


def test_an_interrupt_ends_the_wait_of_every_thread_in_the_batch() -> None:
    device = Device()
    with queued(device, [1, -2, 2001]) as futures:
        pass
    with pytest.raises(KeyboardInterrupt):
        device.batcher.wait(futures[0])
    assert isinstance(futures[1].exception(0), KeyboardInterrupt)
    assert device.batcher.wait(futures[2]).result == 4002


def test_wait_and_run_are_timed_separately() -> None:
    device = Device()
    with queued(device, [1]) as (future,):
        pass
    turn = device.batcher.wait(future)
    alone = device.batcher.wait(device.batcher.submit(2))
    assert turn.wait_seconds > alone.wait_seconds >= 0
    assert turn.run_seconds > 0
