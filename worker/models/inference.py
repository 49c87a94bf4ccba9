"""Every inference of a process: in micro-batches, one at a time on each device, bounded in time."""

from collections.abc import Hashable, Sequence
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from producer.observability.events import NO_EVENTS, Events
from worker.errors import DeviceOutOfMemory
from worker.models.batching import Batcher, Turn
from worker.models.engines.cache import ModelCache
from worker.models.engines.engine import Engine
from worker.models.engines.on_device import Pictures, Reading, Seen, Uploaded
from worker.models.watchdog import Watchdog

Images = NDArray[np.float32]


class _Task(NamedTuple):
    engine: Engine
    name: str
    """The user's for the model, for the log."""
    fed: Images | Uploaded
    reading: Reading | None = None
    """Of a picture; None for a prepared image."""

    @property
    def kind(self) -> Hashable:
        """What all of a batch have in common."""
        return self.engine, self.fed.shape if isinstance(self.fed, np.ndarray) else self.reading


class Inference:
    """Runs images through loaded models.

    One batch at a time on a device, whatever its model: a second one would only share the same
    cores, and on a GPU the memory.
    """

    def __init__(
        self,
        *,
        cache: ModelCache,
        watchdog: Watchdog,
        events: Events = NO_EVENTS,
    ) -> None:
        """`cache` gives room where memory is short; `watchdog` bounds what a device does."""
        self._cache = cache
        self._watchdog = watchdog
        self._events = events
        self._batchers: dict[str, Batcher[_Task, Any]] = {}
        self._lock = Lock()

    def overdue(self) -> str | None:
        """What a device should have answered by now; None: it answers."""
        return self._watchdog.overdue()

    def run(self, engine: Engine, image: Images, *, name: str) -> Turn[Images]:
        """The map (h, w) of one prepared image (1, 3, H, W).

        Images of other threads may run with it, the engine's `most` in all; each has its own result
        or error, and none another one's. Raises what `Engine.infer` raises for this image alone.
        """
        turn: Turn[Images] = self._run(_Task(engine, name, image))
        return turn

    def upload(
        self,
        engine: Engine,
        pictures: Pictures,
        rgb: NDArray[np.uint8],
        *,
        size: tuple[int, int],
        name: str,
    ) -> Uploaded:
        """Put a picture (H, W, 3) on the engine's device, beside whatever runs there.

        Where memory is short, idle models make room, once. Raises what `Pictures.upload` raises.
        """
        device = engine.facts.device
        with self._watchdog.watching(f"a picture for {name} on its way to {device}"):
            try:
                return pictures.upload(rgb, size)
            except DeviceOutOfMemory:
                self._cache.relieve(device)
                return pictures.upload(rgb, size)

    def see(
        self,
        engine: Engine,
        picture: Uploaded,
        reading: Reading,
        *,
        name: str,
    ) -> Turn[Seen]:
        """What a model sees in an uploaded picture; as `run` otherwise."""
        turn: Turn[Seen] = self._run(_Task(engine, name, picture, reading))
        return turn

    def _run(self, task: _Task) -> Turn[Any]:
        device = task.engine.facts.device
        with self._lock:
            batcher = self._batchers.get(device)
            if batcher is None:
                batcher = self._batchers[device] = self._batcher(device)
        return batcher.wait(batcher.submit(task))

    def _batcher(self, device: str) -> Batcher[_Task, Any]:
        return Batcher(
            self._infer,
            # On two cores a batch took longer than its images one after the other.
            most=lambda task: 1 if device == "cpu" else task.engine.most,
            kind=lambda task: task.kind,
            out_of_memory=lambda error: isinstance(error, DeviceOutOfMemory),
            relieve=lambda: self._cache.relieve(device),
        )

    def _infer(self, tasks: Sequence[_Task]) -> Sequence[Any]:
        engine, name, reading = tasks[0].engine, tasks[0].name, tasks[0].reading
        images = [task.fed for task in tasks if isinstance(task.fed, np.ndarray)]
        pictures = [task.fed for task in tasks if isinstance(task.fed, Uploaded)]
        self._events.batch_ran(len(tasks), engine.facts.device)
        with self._watchdog.watching(f"{name}, {len(tasks)} at once on {engine.facts.device},"):
            if reading is not None and engine.pictures is not None:
                return engine.pictures.masks(pictures, reading)
            return list(engine.infer(images[0] if len(images) == 1 else np.concatenate(images)))
