"""Wall-clock time by stage."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext


class Stopwatch:
    """Measures the wall-clock seconds of each stage of one job, for one thread."""

    def __init__(
        self,
        *,
        on_start: Callable[[str], object] | None = None,
        on_end: Callable[[str, float, float], object] | None = None,
        limit: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`on_start` is called with the name of each stage before it begins.

        `on_end` is called after each stage with its name, start and end in `time.perf_counter`'s
        seconds; they include nested stages. `limit(name)` is a context manager around each stage,
        which may raise before it begins.
        """
        self._limit = limit
        self._on_start = on_start
        self._on_end = on_end
        self._start = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to a stage, except the time of nested stages."""
        with self._limit(name):
            if self._on_start is not None:
                self._on_start(name)
            start, before = time.perf_counter(), sum(self._seconds.values())
            try:
                yield
            finally:
                nested, end = sum(self._seconds.values()) - before, time.perf_counter()
                self._add(name, end - start - nested)
                if self._on_end is not None:
                    self._on_end(name, start, end)

    def add(self, name: str, seconds: float, *, ago: float = 0.0) -> None:
        """Add seconds measured elsewhere to a stage; the measurement ended `ago` seconds ago."""
        self._add(name, seconds)
        if self._on_end is not None:
            end = time.perf_counter() - ago
            self._on_end(name, end - seconds, end)

    def _add(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage and their `total`, rounded to 0.1 ms."""
        total = time.perf_counter() - self._start
        return {name: round(value, 4) for name, value in (self._seconds | {"total": total}).items()}
