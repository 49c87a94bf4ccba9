"""The window of a run: backpressure, so that a queue does not grow with the bucket."""

from collections.abc import Callable
from typing import Final

MAX_BATCH_JOBS: Final = 500
"""The most jobs that are sent together."""
_INITIAL_SIZE: Final = 2000
_MAX_SIZE: Final = 64_000


class Window:
    """The most jobs of a run in flight: a fixed number, or one that grows with the workers."""

    def __init__(self, size: int | None) -> None:
        """`size` is at least 1; None starts with 2,000 jobs and doubles when workers run idle."""
        self._is_fixed = size is not None
        self._size = size or _INITIAL_SIZE

    def room(self, in_flight: int, *, is_queue_empty: Callable[[], bool]) -> int:
        """Return how many jobs may be sent now; 0 until there is room for a good part of a batch.

        The window doubles when workers hold more than half of it and no job waits for them.
        """
        if not self._is_fixed and in_flight > self._size // 2 and is_queue_empty():
            self._size = min(2 * self._size, _MAX_SIZE)
        room = self._size - in_flight
        is_worth_a_batch = room >= max(1, min(MAX_BATCH_JOBS, self._size // 4))
        return min(room, MAX_BATCH_JOBS) if is_worth_a_batch else 0
