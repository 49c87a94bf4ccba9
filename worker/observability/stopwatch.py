"""Where the seconds of one job go."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Wall seconds by stage."""

    def __init__(
        self,
        *,
        heard: Callable[[str], object] | None = None,
        timed: Callable[[str, float, float], object] | None = None,
    ) -> None:
        """`heard` is told each stage before it begins.

        `timed` is told when it began and ended, stages inside it included, as `time.perf_counter`
        counts.
        """
        self._heard = heard
        self._timed = timed
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
            inner, end = sum(self._seconds.values()) - before, time.perf_counter()
            self._count(name, end - start - inner)
            if self._timed is not None:
                self._timed(name, start, end)

    def add(self, name: str, spent: float, *, ago: float = 0.0) -> None:
        """Add seconds that were measured elsewhere to a stage; they ended `ago` seconds before."""
        self._count(name, spent)
        if self._timed is not None:
            end = time.perf_counter() - ago
            self._timed(name, end - spent, end)

    def _count(self, name: str, spent: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def seconds(self) -> dict[str, float]:
        """Seconds by stage, and in total, to the tenth of a millisecond."""
        total = time.perf_counter() - self._start
        return {name: round(value, 4) for name, value in (self._seconds | {"total": total}).items()}
