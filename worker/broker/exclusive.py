"""Jobs side by side, and one that is suspected by itself."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReaderWriterLock:
    """Lets any number through together, or one alone.

    A job whose workers died is innocent as long as others ran beside it. Whoever is to pass alone
    waits for those inside, and no newcomer overtakes.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._alone = 0
        """How many pass alone, or wait to."""
        self._changed = threading.Condition()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Pass beside others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Pass while nobody else is inside."""
        with self._changed:
            self._alone += 1
            self._changed.wait_for(lambda: not self._inside)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._alone -= 1
                self._changed.notify_all()
