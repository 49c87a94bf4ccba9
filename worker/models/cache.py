"""The loaded models of one process: each is loaded once, whatever the number of threads."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

from worker.models.engine import Engine
from worker.models.store import ModelFile


class EngineKey(NamedTuple):
    """What makes two loaded models the same: the bytes of the file, and where they run."""

    sha256: str
    device: str


class ModelCache:
    """Engines by model and device. A second thread waits for the first one's load."""

    def __init__(self, load: Callable[[ModelFile, str], Engine]) -> None:
        """`load(file, device)` makes an engine; its errors reach every thread that waits for it."""
        self._load = load
        self._engines: dict[EngineKey, Future[Engine]] = {}
        self._lock = threading.Lock()

    def get(self, file: ModelFile, device: str) -> Engine:
        """The engine of a model on a device; after a failed load the next caller tries anew."""
        key = EngineKey(file.sha256, device)
        with self._lock:
            future = self._engines.get(key)
            first = future is None
            if future is None:
                future = self._engines[key] = Future()
        if first:
            try:
                future.set_result(self._load(file, device))
            except BaseException as error:
                with self._lock:
                    del self._engines[key]
                future.set_exception(error)
                raise
        return future.result()

    def close(self) -> None:
        """Give every engine's memory back; call when nothing runs any more."""
        with self._lock:
            engines, self._engines = self._engines, {}
        for future in engines.values():
            if future.done() and future.exception() is None:
                future.result().close()
