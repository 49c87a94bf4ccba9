"""Every inference of a process: in micro-batches, one at a time on each device, bounded in time."""

from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.batching import Batcher, Turn
from worker.errors import DeviceOutOfMemory
from worker.models.cache import ModelCache
from worker.models.engine import Engine
from worker.watchdog import Watchdog

Images = NDArray[np.float32]


class _Task(NamedTuple):
    engine: Engine
    name: str
    """The user's for the model, for the log."""
    image: Images


class Inference:
    """Runs images through loaded models.

    One batch at a time on a device, whatever its model: a second one would only share the same
    cores, and on a GPU the memory.
    """

    def __init__(self, *, cache: ModelCache, watchdog: Watchdog, batch: int) -> None:
        """`batch`: images that a GPU runs at once, at most."""
        self._cache = cache
        self._watchdog = watchdog
        self._batch = batch
        self._batchers: dict[str, Batcher[_Task, Images]] = {}
        self._lock = Lock()

    def run(self, engine: Engine, image: Images, *, name: str) -> Turn[Images]:
        """The map (h, w) of one prepared image (1, 3, H, W).

        Images of other threads may run with it; each has its own result or error, and none another
        one's. Raises what `Engine.infer` raises for this image alone.
        """
        device = engine.facts.device
        with self._lock:
            batcher = self._batchers.get(device)
            if batcher is None:
                batcher = self._batchers[device] = self._batcher(device)
        return batcher.wait(batcher.submit(_Task(engine, name, image)))

    def _batcher(self, device: str) -> Batcher[_Task, Images]:
        return Batcher(
            self._infer,
            # On two cores a batch took longer than its images one after the other.
            most=1 if device == "cpu" else self._batch,
            kind=lambda task: (task.engine, task.image.shape),
            out_of_memory=lambda error: isinstance(error, DeviceOutOfMemory),
            relieve=lambda: self._cache.relieve(device),
        )

    def _infer(self, tasks: Sequence[_Task]) -> Sequence[Images]:
        engine, name, first = tasks[0]
        images = first if len(tasks) == 1 else np.concatenate([task.image for task in tasks])
        with self._watchdog.watching(f"{name}, {len(tasks)} at once on {engine.facts.device},"):
            return list(engine.infer(images))
