"""A reader–writer lock: many threads hold it shared, or one holds it exclusively."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReaderWriterLock:
    """A reader–writer lock that prefers writers, so that new readers cannot starve a writer.

    A worker holds it exclusively for a job on its last delivery: if the process dies then, that job
    caused it, because no other job ran.
    """

    def __init__(self) -> None:
        self._holders = 0
        self._writers = 0
        """Threads that hold the lock exclusively or wait to do so."""
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the lock inside the block."""
        with self._changed:
            self._writers += exclusive
            self._changed.wait_for(lambda: not (self._holders if exclusive else self._writers))
            self._holders += 1
        try:
            yield
        finally:
            with self._changed:
                self._holders -= 1
                self._writers -= exclusive
                self._changed.notify_all()
