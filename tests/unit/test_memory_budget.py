"""The memory budget: reservations are granted in order and given back."""

import threading
import time

import pytest

from tests.support.jobs import WAIT
from worker.pipeline.memory_budget import MemoryBudget


class Waiters:
    """Threads that each take a share and hold it until they are told, in the order they came."""

    def __init__(self, budget: MemoryBudget) -> None:
        self.budget = budget
        self.served: list[str] = []
        self.release: dict[str, threading.Event] = {}
        self.threads: list[threading.Thread] = []
        self.progress = threading.Condition()

    def come(self, name: str, units: int) -> None:
        self.release[name] = threading.Event()

        def work() -> None:
            with self.budget.share() as share:
                share.take(units)
                with self.progress:
                    self.served.append(name)
                    self.progress.notify_all()
                self.release[name].wait(WAIT)

        thread = threading.Thread(target=work, daemon=True)
        waiting = self.budget.waiting
        thread.start()
        self.threads.append(thread)
        # The next may only come once this one is served or stands in line.
        while name not in self.served and self.budget.waiting == waiting:
            thread.join(0.01)

    def leave(self, name: str, *, then: int) -> list[str]:
        self.release[name].set()
        with self.progress:
            assert self.progress.wait_for(lambda: len(self.served) >= then, WAIT), self.served
            return list(self.served)


def test_a_large_share_is_not_overtaken_by_small_ones() -> None:
    waiters = Waiters(MemoryBudget(10))
    waiters.come("first", 6)
    waiters.come("large", 9)
    for name in ("small", "smaller"):
        waiters.come(name, 1)
    # Four units are free, and whoever waits behind the large one would fit.
    assert waiters.served == ["first"]
    assert waiters.budget.left == 4
    assert waiters.leave("first", then=3)[:3] == ["first", "large", "small"]
    assert waiters.leave("large", then=4)[3] == "smaller"
    for event in waiters.release.values():
        event.set()
    for thread in waiters.threads:
        thread.join(WAIT)
    assert waiters.budget.left == 10


def test_a_share_is_given_back_in_steps() -> None:
    budget = MemoryBudget(10)
    with budget.share() as share, budget.share() as other:
        share.take(8)
        share.keep(5)
        assert budget.left == 5
        share.keep(9)
        assert (share.held, budget.left) == (5, 5)
        with pytest.raises(RuntimeError, match="found one of 5"):
            share.take(1)
        other.take(3)
        share.grow(7)
        assert budget.left == 0
        with pytest.raises(ValueError, match="at most 10 units, found 11"):
            other.take(11)
    assert budget.left == 10


def test_a_share_that_grows_waits_before_those_that_hold_nothing() -> None:
    budget = MemoryBudget(10)
    got: list[str] = []

    def grows(name: str, units: int, entered: threading.Event) -> None:
        with budget.share() as share:
            share.take(2)
            entered.set()
            go.wait(WAIT)
            share.grow(units)
            got.append(name)

    def begins() -> None:
        with budget.share() as share:
            share.take(6)
            got.append("new")

    go = threading.Event()
    entered = [threading.Event() for _ in range(2)]
    threads = [
        threading.Thread(target=grows, args=(name, 9, event))
        for name, event in zip(("a", "b"), entered, strict=True)
    ]
    with budget.share() as busy:
        busy.take(6)
        for thread in threads:
            thread.start()
        assert all(event.wait(WAIT) for event in entered)
        threads.append(threading.Thread(target=begins))
        threads[-1].start()
        while budget.waiting < 1:
            time.sleep(0.01)
        go.set()
        while budget.waiting < 3:
            time.sleep(0.01)
        assert got == []
    # 9 and 9 of 10, with 2 in the other's hand: one goes beyond, or neither would ever.
    for thread in threads:
        thread.join(WAIT)
    assert got[2:] == ["new"]
    assert budget.left == 10


def test_a_failed_job_gives_its_share_back() -> None:
    budget = MemoryBudget(10)

    def job() -> None:
        with budget.share() as share:
            share.take(10)
            assert budget.left == 0
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        job()
    assert budget.left == 10
