"""Where the seconds of one job go."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Wall seconds by stage."""

    def __init__(self, *, heard: Callable[[str], object] | None = None) -> None:
        """`heard` is told each stage before it begins."""
        self._heard = heard
        self._start = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a stage, but for that of stages inside it."""
        if self._heard is not None:
            self._heard(name)
        start, before = time.perf_counter(), sum(self._seconds.values())
        try:
            yield
        finally:
            inner = sum(self._seconds.values()) - before
            self.add(name, time.perf_counter() - start - inner)

    def add(self, name: str, spent: float) -> None:
        """Add seconds that were measured elsewhere to a stage."""
        self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def seconds(self) -> dict[str, float]:
        """Seconds by stage, and in total, to the tenth of a millisecond."""
        total = time.perf_counter() - self._start
        return {name: round(value, 4) for name, value in (self._seconds | {"total": total}).items()}
