"""Where the seconds of one job go."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Wall seconds by stage."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a stage, but for that of stages inside it."""
        start, before = time.perf_counter(), sum(self._seconds.values())
        try:
            yield
        finally:
            inner = sum(self._seconds.values()) - before
            spent = time.perf_counter() - start - inner
            self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def seconds(self) -> dict[str, float]:
        """Seconds by stage, and in total, to the tenth of a millisecond."""
        total = time.perf_counter() - self._start
        return {name: round(value, 4) for name, value in (self._seconds | {"total": total}).items()}
