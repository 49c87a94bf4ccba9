"""A bound on what a process holds at once, shared out in order."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Allowance:
    """So many units in all. Who wants more than is left waits, and is served in order.

    A large share does not starve behind small ones: nobody overtakes who waits.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._left = total
        self._waiting: deque[Share] = deque()
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
    def share(self) -> Iterator["Share"]:
        """A share of one job, empty at first; what it holds is given back after the block."""
        share = Share(self)
        try:
            yield share
        finally:
            share.keep(0)

    def _take(self, share: "Share", units: int) -> None:
        with self._changed:
            self._waiting.append(share)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is share and self._left >= units)
                self._left -= units
            finally:
                self._waiting.remove(share)
                self._changed.notify_all()

    def _take_if_there(self, units: int) -> bool:
        with self._changed:
            if self._left < units:
                return False
            self._left -= units
            return True

    def _give_back(self, units: int) -> None:
        with self._changed:
            self._left += units
            self._changed.notify_all()


class Share:
    """What one job holds of an allowance; for one thread.

    Only an empty share waits: two that hold something and wait for more would do so for ever.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self.held = 0

    def take(self, units: int) -> None:
        """Hold units, once those who asked before hold theirs; at most the allowance's total."""
        if units > self._allowance.total:
            raise ValueError(f"expected at most {self._allowance.total} units, found {units}")
        if self.held:
            raise RuntimeError(f"expected a share that holds nothing, found one of {self.held}")
        self._allowance._take(self, units)
        self.held = units

    def grow(self, units: int) -> bool:
        """Hold so many units or more, without a wait; False, and nothing changes, if they lack."""
        more = max(units - self.held, 0)
        if not self._allowance._take_if_there(more):
            return False
        self.held += more
        return True

    def keep(self, units: int) -> None:
        """Give back all but so many units; nothing where there are no more."""
        if surplus := max(self.held - units, 0):
            self.held -= surplus
            self._allowance._give_back(surplus)
