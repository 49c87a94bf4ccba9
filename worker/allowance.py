"""A bound on what a process works on at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Allowance:
    """So many units in all; who wants more than is left waits for the others."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._left = total
        self._changed = threading.Condition()

    @contextmanager
    def take(self, units: int) -> Iterator[None]:
        """Hold units inside the block; at most `total` of them, or it would wait for ever."""
        if units > self.total:
            raise ValueError(f"expected at most {self.total} units, found {units}")
        with self._changed:
            self._changed.wait_for(lambda: self._left >= units)
            self._left -= units
        try:
            yield
        finally:
            with self._changed:
                self._left += units
                self._changed.notify_all()
