"""The model cache of a process: each engine is loaded once, within a budget of memory."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from producer.observability.events import NO_EVENTS, Events
from worker.errors import DeviceOutOfMemory
from worker.models.engines.budget import Budget
from worker.models.engines.engine import Engine
from worker.models.engines.gpu import release_cached_memory
from worker.models.files.store import ModelFile
from worker.models.watchdog import waiting

log = logging.getLogger(__name__)


class EngineKey(NamedTuple):
    """What distinguishes loaded models: the file, the device, and how the profile reads it."""

    sha256: str
    device: str
    layout: str
    output: str | int | None
    channel: int | None
    softmax: bool

    @classmethod
    def of(cls, file: ModelFile, device: str) -> "EngineKey":
        """Return the key of a model on a device."""
        profile = file.profile
        return cls(
            file.sha256, device, profile.layout, profile.output, profile.channel, profile.softmax
        )


@dataclass(eq=False)
class _Entry:
    """One engine, from the first request for it until it is removed from the cache."""

    engine: Future[Engine] = field(default_factory=Future)
    users: int = 0
    keep: bool = False
    """Whether to close it only when nothing else frees enough memory."""
    last_used: float = 0.0

    @property
    def loaded(self) -> Engine | None:
        if not self.engine.done() or self.engine.exception() is not None:
            return None
        return self.engine.result()


_Loaded = tuple[EngineKey, _Entry, Engine]


class ModelCache:
    """Engines by model and device; concurrent requests for one engine share its load.

    Above its budget, the cache closes the least recently used idle engines, those with `keep` last.
    It never closes an engine in use. A model larger than the whole budget is loaded nevertheless,
    after all idle ones are closed.
    """

    def __init__(
        self,
        load: Callable[[ModelFile, str], Engine],
        *,
        budget: Budget,
        events: Events = NO_EVENTS,
    ) -> None:
        """`load(file, device)` makes an engine; its errors reach every thread that waits for it."""
        self._load = load
        self._budget = budget
        self._events = events
        self._entries: dict[EngineKey, _Entry] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    @contextmanager
    def use(self, file: ModelFile, device: str, *, keep: bool = False) -> Iterator[Engine]:
        """Yield the engine of a model on a device; it stays loaded inside the block.

        With `keep`, an idle engine also stays on a GPU, and is closed last when memory runs out.
        After a failed load, the next request loads again.
        """
        key = EngineKey.of(file, device)
        with self._lock:
            entry = self._entries.get(key)
            is_new = entry is None
            if entry is None:
                entry = self._entries[key] = _Entry()
            entry.users += 1
            entry.keep = entry.keep or keep
        try:
            if is_new:
                self._load_entry(key, entry, file)
            with waiting():  # until another thread has loaded it
                engine = entry.engine.result()
            self._events.model_used(file.name, loaded=is_new)
            yield engine
        finally:
            with self._lock:
                entry.users -= 1
                entry.last_used = time.monotonic()
                surplus = self._pop_surplus(entry)
                self._schedule_idle_check()
            _close_all(surplus)

    def is_loaded(self, sha256: str) -> bool:
        """Return whether a model file with this hash is loaded on any device."""
        with self._lock:
            return any(
                key.sha256 == sha256 and entry.loaded for key, entry in self._entries.items()
            )

    def free_memory(self, device: str) -> None:
        """Close all idle models on this kind of device, CPU or GPU, even those with `keep`."""
        gpu = _is_gpu(device)
        with self._lock:
            idle = self._remove(item for item in self._loaded(gpu=gpu) if not item[1].users)
        log.warning("%s is out of memory: closing %d idle models", device, len(idle))
        _close_all(idle)
        if gpu:
            release_cached_memory()

    def close(self) -> None:
        """Close every engine; call it when none is in use any more."""
        with self._lock:
            entries, self._entries = self._entries, {}
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        _close_all([engine for entry in entries.values() if (engine := entry.loaded)])

    def _load_entry(self, key: EngineKey, entry: _Entry, file: ModelFile) -> None:
        try:
            # Make room before the load, so that old and new engine need not fit at once. The
            # file's size is an estimate of the engine's.
            size = file.path.stat().st_size if file.path.is_file() else 0
            with self._lock:
                surplus = self._pop_surplus(entry, incoming=(_is_gpu(key.device), size))
            _close_all(surplus)
            try:
                engine = self._load(file, key.device)
            except DeviceOutOfMemory:
                self.free_memory(key.device)
                engine = self._load(file, key.device)
        except BaseException as error:
            with self._lock:
                self._entries.pop(key, None)
            entry.engine.set_exception(error)
            raise
        entry.engine.set_result(engine)
        with self._lock:
            surplus = self._pop_surplus(entry)
        _close_all(surplus)
        limit = self._limit(gpu=_is_gpu(engine.facts.device))
        if engine.bytes > limit:
            log.warning(
                "%s takes %d bytes on %s, more than the budget of %d: it is loaded alone",
                *(file.name, engine.bytes, engine.facts.device, limit),
            )

    def _pop_surplus(self, new: _Entry, incoming: tuple[bool, int] | None = None) -> list[Engine]:
        """Remove and return idle engines until the others fit the budget; call with the lock held.

        `incoming`: whether an engine about to be loaded goes to a GPU, and its size in bytes.
        """
        surplus: list[Engine] = []
        for gpu in (False, True):
            loaded = self._loaded(gpu=gpu)
            size = sum(engine.bytes for _, _, engine in loaded)
            if incoming is not None and incoming[0] == gpu:
                size += incoming[1]
            idle = [item for item in loaded if item[1].users == 0 and item[1] is not new]
            for key, _, engine in sorted(idle, key=lambda item: (item[1].keep, item[1].last_used)):
                if size <= self._limit(gpu=gpu):
                    break
                del self._entries[key]
                surplus.append(engine)
                size -= engine.bytes
        return surplus

    def _limit(self, *, gpu: bool) -> int:
        return self._budget.gpu_memory if gpu else self._budget.memory

    def _loaded(self, *, gpu: bool) -> list[_Loaded]:
        """Return what is loaded on the GPUs or on the CPU, by where each engine really runs."""
        return [
            (key, entry, engine)
            for key, entry in self._entries.items()
            if (engine := entry.loaded) and _is_gpu(engine.facts.device) == gpu
        ]

    def _remove(self, items: Iterable[_Loaded]) -> list[Engine]:
        engines = []
        for key, _, engine in items:
            del self._entries[key]
            engines.append(engine)
        return engines

    def _idle_on_gpu(self) -> list[_Loaded]:
        return [item for item in self._loaded(gpu=True) if not item[1].users and not item[1].keep]

    def _schedule_idle_check(self) -> None:
        """Start one timer for the next engine to leave its GPU; call with the lock held."""
        idle_since = [entry.last_used for _, entry, _ in self._idle_on_gpu()]
        if self._timer is not None or not idle_since:
            return
        delay = max(0.0, min(idle_since) + self._budget.gpu_idle - time.monotonic())
        self._timer = threading.Timer(delay, self._close_idle)
        self._timer.daemon = True
        self._timer.start()

    def _close_idle(self) -> None:
        """Close the engines that have been idle on a GPU for the budget's time."""
        with self._lock:
            self._timer = None
            limit = time.monotonic() - self._budget.gpu_idle
            expired = self._remove(
                item for item in self._idle_on_gpu() if item[1].last_used <= limit
            )
            self._schedule_idle_check()
        _close_all(expired)


def _is_gpu(device: str) -> bool:
    return device != "cpu"


def _close_all(engines: list[Engine]) -> None:
    """Close engines that are no longer in the cache; without the lock, because it takes a while."""
    for engine in engines:
        engine.close()
