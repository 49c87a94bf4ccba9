"""The loaded models of one process: each loaded once, within a budget of memory."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from producer.observability.events import NO_EVENTS, Events
from worker.errors import DeviceOutOfMemory
from worker.models.engines.budget import Budget
from worker.models.engines.engine import Engine
from worker.models.engines.gpu import give_back_unused
from worker.models.files.store import ModelFile

log = logging.getLogger(__name__)


class EngineKey(NamedTuple):
    """What makes two loaded models the same: the file, the device, and how it is read."""

    sha256: str
    device: str
    layout: str
    output: str | int | None

    @classmethod
    def of(cls, file: ModelFile, device: str) -> "EngineKey":
        """The key of a model on a device."""
        return cls(file.sha256, device, file.profile.layout, file.profile.output)


@dataclass(eq=False)
class _Slot:
    """One engine, from the first call that wants it until it is closed."""

    engine: Future[Engine] = field(default_factory=Future)
    users: int = 0
    kept: bool = False
    used: float = 0.0

    @property
    def loaded(self) -> Engine | None:
        if not self.engine.done() or self.engine.exception() is not None:
            return None
        return self.engine.result()


class ModelCache:
    """Engines by model and device. A second thread waits for the first one's load.

    Over its budget it closes the engine that was used least recently, never one in use, and those
    to keep last. A model above the whole budget is loaded all the same, alone.
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
        self._slots: dict[EngineKey, _Slot] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    @contextmanager
    def use(self, file: ModelFile, device: str, *, keep: bool = False) -> Iterator[Engine]:
        """The engine of a model on a device, which stays loaded inside the block.

        `keep`: it stays on a GPU when idle too, and is the last to go when memory is short. After a
        failed load the next caller tries anew.
        """
        key = EngineKey.of(file, device)
        with self._lock:
            slot = self._slots.get(key)
            first = slot is None
            if slot is None:
                slot = self._slots[key] = _Slot()
            slot.users += 1
            slot.kept = slot.kept or keep
        try:
            if first:
                self._fill(key, slot, file)
            engine = slot.engine.result()
            self._events.model_used(file.name, loaded=first)
            yield engine
        finally:
            with self._lock:
                slot.users -= 1
                slot.used = time.monotonic()
                surplus = self._surplus(newest=slot)
                self._watch_idle()
            _close(surplus)

    def holds(self, sha256: str) -> bool:
        """Whether a model file with this hash is loaded, on whichever device."""
        with self._lock:
            return any(key.sha256 == sha256 and slot.loaded for key, slot in self._slots.items())

    def relieve(self, device: str) -> None:
        """Give memory of this kind of device back: every idle model's, those to keep included."""
        gpu = _on_gpu(device)
        with self._lock:
            idle = [
                (key, engine)
                for key, slot in self._slots.items()
                if not slot.users and (engine := slot.loaded)
                if _on_gpu(engine.facts.device) == gpu
            ]
            for key, _ in idle:
                del self._slots[key]
        log.warning("%s is out of memory: closing %d idle models", device, len(idle))
        _close([engine for _, engine in idle])
        if gpu:
            give_back_unused()

    def close(self) -> None:
        """Give every engine's memory back; call when nothing runs any more."""
        with self._lock:
            slots, self._slots = self._slots, {}
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        _close([engine for slot in slots.values() if (engine := slot.loaded)])

    def _fill(self, key: EngineKey, slot: _Slot, file: ModelFile) -> None:
        try:
            # Before the load, so that both need not fit at once. The file's size is a guess.
            size = file.path.stat().st_size if file.path.is_file() else 0
            with self._lock:
                surplus = self._surplus(newest=slot, coming=(_on_gpu(key.device), size))
            _close(surplus)
            try:
                engine = self._load(file, key.device)
            except DeviceOutOfMemory:
                self.relieve(key.device)
                engine = self._load(file, key.device)
        except BaseException as error:
            with self._lock:
                self._slots.pop(key, None)
            slot.engine.set_exception(error)
            raise
        slot.engine.set_result(engine)
        with self._lock:
            surplus = self._surplus(newest=slot)
        _close(surplus)
        limit = self._limit(gpu=_on_gpu(engine.facts.device))
        if engine.bytes > limit:
            log.warning(
                "%s takes %d bytes on %s, more than the budget of %d: it is loaded alone",
                *(file.name, engine.bytes, engine.facts.device, limit),
            )

    def _surplus(self, *, newest: _Slot, coming: tuple[bool, int] | None = None) -> list[Engine]:
        """Take out what must go for the rest, and bytes `coming` to a device, to fit the budget."""
        surplus: list[Engine] = []
        for gpu in (False, True):
            loaded = [
                (key, slot, engine)
                for key, slot in self._slots.items()
                if (engine := slot.loaded) and _on_gpu(engine.facts.device) == gpu
            ]
            size = sum(engine.bytes for _, _, engine in loaded)
            if coming is not None and coming[0] == gpu:
                size += coming[1]
            idle = [item for item in loaded if item[1].users == 0 and item[1] is not newest]
            for key, _, engine in sorted(idle, key=lambda item: (item[1].kept, item[1].used)):
                if size <= self._limit(gpu=gpu):
                    break
                del self._slots[key]
                surplus.append(engine)
                size -= engine.bytes
        return surplus

    def _limit(self, *, gpu: bool) -> int:
        return self._budget.gpu_memory if gpu else self._budget.memory

    def _idle_on_gpu(self) -> list[tuple[EngineKey, _Slot, Engine]]:
        return [
            (key, slot, engine)
            for key, slot in self._slots.items()
            if not slot.users
            and not slot.kept
            and (engine := slot.loaded)
            and _on_gpu(engine.facts.device)
        ]

    def _watch_idle(self) -> None:
        """Have one timer wait for the idle model that is the first to leave the GPU."""
        idle = self._idle_on_gpu()
        if self._timer is not None or not idle:
            return
        oldest = min(slot.used for _, slot, _ in idle)
        wait = max(0.0, oldest + self._budget.gpu_idle - time.monotonic())
        self._timer = threading.Timer(wait, self._leave_gpu)
        self._timer.daemon = True
        self._timer.start()

    def _leave_gpu(self) -> None:
        with self._lock:
            self._timer = None
            now = time.monotonic()
            leaving = []
            for key, slot, engine in self._idle_on_gpu():
                if slot.used + self._budget.gpu_idle <= now:
                    del self._slots[key]
                    leaving.append(engine)
            self._watch_idle()
        _close(leaving)


def _on_gpu(device: str) -> bool:
    return device != "cpu"


def _close(engines: list[Engine]) -> None:
    """Close engines nobody uses; outside the lock, for it takes a while."""
    for engine in engines:
        engine.close()
