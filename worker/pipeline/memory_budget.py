"""A bound on what a process holds at once, shared out in order."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """So many units in all. Who wants more than is left waits, and is served in order.

    A large share does not starve behind small ones: nobody overtakes who waits.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._left = total
        self._waiting: deque[Reservation] = deque()
        self._idle = 0
        """Units held by those who wait for more."""
        self._changed = threading.Condition()

    @property
    def left(self) -> int:
        """Units that nobody holds."""
        return self._left

    @property
    def waiting(self) -> int:
        """Shares that stand in line."""
        return len(self._waiting)

    @contextmanager
    def share(self) -> Iterator["Reservation"]:
        """A share of one job, empty at first; what it holds is given back after the block."""
        share = Reservation(self)
        try:
            yield share
        finally:
            share.keep(0)

    def _take(self, share: "Reservation", units: int) -> None:
        with self._changed:
            # Who holds something goes first: others wait for that.
            (self._waiting.appendleft if share.held else self._waiting.append)(share)
            self._idle += share.held
            try:
                self._changed.wait_for(lambda: self._is_next(share, units))
                self._left -= units
            finally:
                self._idle -= share.held
                self._waiting.remove(share)
                self._changed.notify_all()

    def _is_next(self, share: "Reservation", units: int) -> bool:
        if self._waiting[0] is not share:
            return False
        # If all that is held is held by those who wait, nobody would ever give any back.
        stuck = share.held > 0 and self.total - self._left == self._idle
        return self._left >= units or stuck

    def _give_back(self, units: int) -> None:
        with self._changed:
            self._left += units
            self._changed.notify_all()


class Reservation:
    """What one job holds of an allowance; for one thread."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._allowance = budget
        self.held = 0

    @property
    def total(self) -> int:
        """Units of the whole budget."""
        return self._allowance.total

    def take(self, units: int) -> None:
        """Hold units, once those who asked before hold theirs; at most the allowance's total."""
        if units > self._allowance.total:
            raise ValueError(f"expected at most {self._allowance.total} units, found {units}")
        if self.held:
            raise RuntimeError(f"expected a share that holds nothing, found one of {self.held}")
        self._allowance._take(self, units)
        self.held = units

    def grow(self, units: int) -> None:
        """Hold so many units, before those who hold none yet.

        Where all who hold something wait for more, one of them gets it beyond the total; so keep
        little while you wait.
        """
        if more := max(units - self.held, 0):
            self._allowance._take(self, more)
            self.held += more

    def keep(self, units: int) -> None:
        """Give back all but so many units; nothing where there are no more."""
        if surplus := max(self.held - units, 0):
            self.held -= surplus
            self._allowance._give_back(surplus)
