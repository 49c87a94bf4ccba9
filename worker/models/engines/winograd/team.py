"""A team of threads that share the parts of a step."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from worker.models.engines.winograd.layer import Floats

Item = TypeVar("Item")


class Team:
    """A fixed number of threads, one of which is the caller's, with scratch memory."""

    def __init__(self, threads: int, *, private: int, shared: int) -> None:
        """`private` and `shared`: float32 elements of scratch memory per thread, and for all."""
        self.size = threads
        self.shared = np.empty(shared, np.float32)
        self._private = [np.empty(private, np.float32) for _ in range(threads)]
        self._pool = ThreadPoolExecutor(max(threads - 1, 1), "cutwork-network")

    def run(self, work: Callable[[Item, Floats], None], items: Iterable[Item]) -> None:
        """Call `work(item, scratch)` for every item, and return when all calls are done.

        Each thread takes the next item when it is done with one, so that a thread that other
        processes slow down takes fewer. Raises what `work` raises.
        """
        lock, remaining = threading.Lock(), iter(items)

        def work_through(scratch: Floats) -> None:
            while True:
                with lock:
                    item = next(remaining, None)
                if item is None:
                    return
                work(item, scratch)

        futures = [self._pool.submit(work_through, scratch) for scratch in self._private[1:]]
        try:
            work_through(self._private[0])
        finally:
            # Wait even after an error here: the next call uses the same memory.
            errors = [future.exception() for future in futures]
        for error in filter(None, errors):
            raise error

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False)
