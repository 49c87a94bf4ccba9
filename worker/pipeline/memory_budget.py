"""A bound on the bytes that the jobs of a process hold together."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """A weighted FIFO semaphore of `total` bytes; requests are granted in order.

    A large request does not starve behind small ones, because none overtakes a waiting one.
    Thread-safe.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        """Bytes that are not reserved."""
        self._queue: deque[Reservation] = deque()
        self._idle = 0
        """Bytes of reservations that wait to grow."""
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self) -> Iterator["Reservation"]:
        """Yield an empty reservation for one job; release what it holds after the block."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            reservation.shrink_to(0)

    def _acquire(self, reservation: "Reservation", size: int) -> None:
        with self._changed:
            # Reservations that hold something go first, because others wait for their bytes.
            (self._queue.appendleft if reservation.size else self._queue.append)(reservation)
            self._idle += reservation.size
            try:
                self._changed.wait_for(lambda: self._can_grant(reservation, size))
                self.free -= size
            finally:
                self._idle -= reservation.size
                self._queue.remove(reservation)
                self._changed.notify_all()

    def _can_grant(self, reservation: "Reservation", size: int) -> bool:
        if self._queue[0] is not reservation:
            return False
        # If all reserved bytes belong to waiting jobs, none of them would ever release any.
        deadlock = reservation.size > 0 and self.total - self.free == self._idle
        return self.free >= size or deadlock

    def _release(self, size: int) -> None:
        with self._changed:
            self.free += size
            self._changed.notify_all()


class Reservation:
    """The bytes that one job has reserved of a budget; for one thread."""

    def __init__(self, budget: MemoryBudget) -> None:
        self.budget = budget
        self.size = 0
        """Bytes reserved now."""

    def acquire(self, size: int) -> None:
        """Reserve `size` bytes, after all earlier requests; the reservation must be empty.

        Raises `ValueError` for more than the budget's total.
        """
        if size > self.budget.total:
            raise ValueError(f"expected at most {self.budget.total} bytes, found {size}")
        if self.size:
            raise RuntimeError(f"expected an empty reservation, found one of {self.size} bytes")
        self.budget._acquire(self, size)
        self.size = size

    def grow_to(self, size: int) -> None:
        """Grow to `size` bytes, ahead of the requests of empty reservations.

        If all jobs with a reservation wait to grow, one of them is granted its request beyond the
        total; so shrink to the minimum before you wait.
        """
        if growth := max(size - self.size, 0):
            self.budget._acquire(self, growth)
            self.size += growth

    def shrink_to(self, size: int) -> None:
        """Release all but `size` bytes; do nothing if there are no more."""
        if surplus := max(self.size - size, 0):
            self.size -= surplus
            self.budget._release(surplus)
