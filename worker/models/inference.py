"""All inferences of a process: batched, one batch at a time per device, and bounded in time."""

from collections.abc import Hashable, Sequence
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from producer.observability.events import NO_EVENTS, Events
from worker.errors import DeviceOutOfMemory
from worker.models.batching import Batcher, TimedResult
from worker.models.engines.cache import ModelCache
from worker.models.engines.engine import Engine
from worker.models.engines.segmenter import Conversion, DeviceImage, DeviceMask, DeviceSegmenter
from worker.models.watchdog import Watchdog

Images = NDArray[np.float32]


class _Task(NamedTuple):
    engine: Engine
    model: str
    """The model's name as the job gave it, for the log."""
    image: Images | DeviceImage
    conversion: Conversion | None = None
    """Set for a `DeviceImage`; None for a prepared image."""

    @property
    def group_key(self) -> Hashable:
        """What all tasks of a batch have in common."""
        image = self.image
        return self.engine, image.shape if isinstance(image, np.ndarray) else self.conversion


class Inference:
    """Runs images through loaded models, one batch at a time on each device.

    Batches of different models do not overlap on a device either: they would only compete for the
    same cores, and on a GPU for its memory.
    """

    def __init__(
        self, *, cache: ModelCache, watchdog: Watchdog, events: Events = NO_EVENTS
    ) -> None:
        """`cache` closes idle models when memory runs out; `watchdog` limits each device call."""
        self._cache = cache
        self.watchdog = watchdog
        self._events = events
        self._batchers: dict[str, Batcher[_Task, Any]] = {}
        self._lock = Lock()

    def infer(self, engine: Engine, image: Images, *, name: str) -> TimedResult[Images]:
        """Return the saliency map (h, w) of one prepared image (1, 3, H, W), both float32.

        Images of other threads may share the batch, up to the engine's `max_batch`; each has its
        own result or error. Raises what `Engine.infer` raises for this image alone.
        """
        return self._run(_Task(engine, name, image))

    def upload(
        self,
        engine: Engine,
        segmenter: DeviceSegmenter,
        rgb: NDArray[np.uint8],
        *,
        size: tuple[int, int],
        name: str,
    ) -> DeviceImage:
        """Copy an image (H, W, 3) to the engine's device while other work runs there.

        When memory runs out, idle models are closed and the copy is tried once more. Raises what
        `DeviceSegmenter.upload` raises.
        """
        device = engine.facts.device
        with self.watchdog.watch(f"uploading an image for {name} to {device}"):
            try:
                return segmenter.upload(rgb, size)
            except DeviceOutOfMemory:
                self._cache.free_memory(device)
                return segmenter.upload(rgb, size)

    def segment(
        self, engine: Engine, image: DeviceImage, conversion: Conversion, *, name: str
    ) -> TimedResult[DeviceMask]:
        """Return the mask of an uploaded image; batches and errors are as with `infer`."""
        return self._run(_Task(engine, name, image, conversion))

    def _run(self, task: _Task) -> TimedResult[Any]:
        device = task.engine.facts.device
        with self._lock:
            if device not in self._batchers:
                self._batchers[device] = Batcher(
                    self._run_batch,
                    # On two cores a batch took longer than its images one after the other.
                    max_batch=lambda task: 1 if device == "cpu" else task.engine.max_batch,
                    group_key=lambda task: task.group_key,
                    is_out_of_memory=lambda error: isinstance(error, DeviceOutOfMemory),
                    free_memory=lambda: self._cache.free_memory(device),
                )
            batcher = self._batchers[device]
        return batcher.wait(batcher.submit(task))

    def _run_batch(self, tasks: Sequence[_Task]) -> Sequence[Any]:
        engine, model, conversion = tasks[0].engine, tasks[0].model, tasks[0].conversion
        arrays = [task.image for task in tasks if isinstance(task.image, np.ndarray)]
        uploads = [task.image for task in tasks if isinstance(task.image, DeviceImage)]
        self._events.batch_ran(len(tasks), engine.facts.device)
        with self.watchdog.watch(f"{model}, a batch of {len(tasks)} on {engine.facts.device},"):
            if conversion is not None and engine.segmenter is not None:
                return engine.segmenter.masks(uploads, conversion)
            return list(engine.infer(arrays[0] if len(arrays) == 1 else np.concatenate(arrays)))
