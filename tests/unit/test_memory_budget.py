"""The memory budget: reservations are granted in order and given back."""

import threading
import time

import pytest

from tests.support.patience import PATIENCE
from worker.pipeline.memory_budget import MemoryBudget


class Waiters:
    """Threads that reserve memory one after the other, and hold it until they are released."""

    def __init__(self, budget: MemoryBudget) -> None:
        self.budget = budget
        self.granted: list[str] = []
        self.release: dict[str, threading.Event] = {}
        self.threads: list[threading.Thread] = []
        self.progress = threading.Condition()

    def arrive(self, name: str, size: int) -> None:
        self.release[name] = threading.Event()

        def work() -> None:
            with self.budget.reserve() as reservation:
                reservation.acquire(size)
                with self.progress:
                    self.granted.append(name)
                    self.progress.notify_all()
                self.release[name].wait(PATIENCE)

        thread = threading.Thread(target=work, daemon=True)
        waiting = len(self.budget._queue)
        thread.start()
        self.threads.append(thread)
        # The next one arrives once this one has been granted its memory or waits for it.
        while name not in self.granted and len(self.budget._queue) == waiting:
            thread.join(0.01)

    def finish(self, name: str, *, then: int) -> list[str]:
        self.release[name].set()
        with self.progress:
            assert self.progress.wait_for(lambda: len(self.granted) >= then, PATIENCE), self.granted
            return list(self.granted)


def test_small_requests_do_not_overtake_a_large_one() -> None:
    waiters = Waiters(MemoryBudget(10))
    waiters.arrive("first", 6)
    waiters.arrive("large", 9)
    for name in ("small", "smaller"):
        waiters.arrive(name, 1)
    # Four bytes are free, enough for the requests behind the large one.
    assert waiters.granted == ["first"]
    assert waiters.budget.free == 4
    assert waiters.finish("first", then=3)[:3] == ["first", "large", "small"]
    assert waiters.finish("large", then=4)[3] == "smaller"
    for event in waiters.release.values():
        event.set()
    for thread in waiters.threads:
        thread.join(PATIENCE)
    assert waiters.budget.free == 10


def test_a_reservation_shrinks_in_steps() -> None:
    budget = MemoryBudget(10)
    with budget.reserve() as reservation, budget.reserve() as other:
        reservation.acquire(8)
        reservation.shrink_to(5)
        assert budget.free == 5
        reservation.shrink_to(9)
        assert (reservation.size, budget.free) == (5, 5)
        with pytest.raises(RuntimeError, match="found one of 5"):
            reservation.acquire(1)
        other.acquire(3)
        reservation.grow_to(7)
        assert budget.free == 0
        with pytest.raises(ValueError, match="at most 10 bytes, found 11"):
            other.acquire(11)
    assert budget.free == 10


def test_a_growing_reservation_goes_before_empty_ones() -> None:
    budget = MemoryBudget(10)
    got: list[str] = []

    def grows(name: str, size: int, entered: threading.Event) -> None:
        with budget.reserve() as reservation:
            reservation.acquire(2)
            entered.set()
            go.wait(PATIENCE)
            reservation.grow_to(size)
            got.append(name)

    def begins() -> None:
        with budget.reserve() as reservation:
            reservation.acquire(6)
            got.append("new")

    go = threading.Event()
    entered = [threading.Event() for _ in range(2)]
    threads = [
        threading.Thread(target=grows, args=(name, 9, event))
        for name, event in zip(("a", "b"), entered, strict=True)
    ]
    with budget.reserve() as busy:
        busy.acquire(6)
        for thread in threads:
            thread.start()
        assert all(event.wait(PATIENCE) for event in entered)
        threads.append(threading.Thread(target=begins))
        threads[-1].start()
        while len(budget._queue) < 1:
            time.sleep(0.01)
        go.set()
        while len(budget._queue) < 3:
            time.sleep(0.01)
        assert got == []
    # Two reservations grow to 9 of 10 bytes: one must exceed the total, or both would wait forever.
    for thread in threads:
        thread.join(PATIENCE)
    assert got[2:] == ["new"]
    assert budget.free == 10


def test_a_failed_job_releases_its_memory() -> None:
    budget = MemoryBudget(10)

    def job() -> None:
        with budget.reserve() as reservation:
            reservation.acquire(10)
            assert budget.free == 0
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        job()
    assert budget.free == 10
