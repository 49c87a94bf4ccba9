"""Threads that share the parts of a step, each with memory of its own."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")
Numbers = NDArray[np.float32]


class Team:
    """So many threads, the caller's among them."""

    def __init__(self, threads: int, *, scratch: int, common: int) -> None:
        """`scratch`: numbers that each thread has for itself; `common`: that they share."""
        self.size = threads
        self.common = np.empty(common, np.float32)
        self._own = [np.empty(scratch, np.float32) for _ in range(threads)]
        self._others = ThreadPoolExecutor(max(threads - 1, 1), "cutwork-network")

    def share(self, work: Callable[[Item, Numbers], None], items: Iterable[Item]) -> None:
        """Do the work for every item, and return when all is done; raises what it raised.

        Who is done with one takes the next: whoever is held up by another process takes fewer.
        """
        lock, left = threading.Lock(), iter(items)

        def take(own: Numbers) -> None:
            while True:
                with lock:
                    item = next(left, None)
                if item is None:
                    return
                work(item, own)

        others = [self._others.submit(take, own) for own in self._own[1:]]
        try:
            take(self._own[0])
        finally:
            # Also where this one failed: the arrays are the next caller's.
            errors = [each.exception() for each in others]
        for error in errors:
            if error is not None:
                raise error

    def close(self) -> None:
        """End the threads."""
        self._others.shutdown(wait=False)
