"""An engine that holds images back until a test lets them run."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from tests.support.blocked import until_blocked_in
from tests.support.short_memory import leave
from tests.support.tiny_models import loaded, saved, value
from worker.errors import DeviceOutOfMemory, ModelInvalid
from worker.models import batching
from worker.models.engines.budget import Budget
from worker.models.engines.cache import ModelCache
from worker.models.engines.engine import Engine, EngineFacts
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile
from worker.models.inference import Inference
from worker.models.watchdog import Watchdog

Images = NDArray[np.float32]
BUDGET = Budget(memory=2**40, gpu_memory=2**40, gpu_idle=3600)


class HeldEngine:
    """An engine that records its batches and runs none before `go` is set."""

    def __init__(self, engine: Engine, device: str, *, max_batch: int = 8) -> None:
        self.max_batch = max_batch
        self.facts: EngineFacts = replace(engine.facts, device=device)
        self.input_size, self.bytes = engine.input_size, engine.bytes
        self.segmenter = engine.segmenter
        self.batches: list[int] = []
        self.go = threading.Event()
        self.closed = False
        self._engine = engine

    def infer(self, batch: Images) -> Images:
        self.batches.append(len(batch))
        self.go.wait()
        return self._engine.infer(batch)

    def close(self) -> None:
        self.closed = True
        self._engine.close()


def tiny(path: Path, nodes: Sequence[NodeProto], *weights: TensorProto) -> Engine:
    """Write and load a model that takes any number of images of any size."""
    return loaded(
        saved(
            path,
            nodes,
            [value("x", ("n", 3, "h", "w"))],
            [value("y", ("n", 1, "h", "w"))],
            weights,
        )
    )


def mean_and(operator: str, path: Path) -> Engine:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1),
        helper.make_node(operator, ["m"], ["y"]),
    ]
    return tiny(path, nodes)


def opened(*engines: HeldEngine) -> tuple[ModelCache, Inference, list[ModelFile]]:
    """Return a cache of the engines, its inference and one file per engine, named by its index."""
    files = [
        ModelFile(name=str(number), path=Path(str(number)), sha256=str(number), profile=Profile())
        for number in range(len(engines))
    ]
    cache = ModelCache(lambda file, _: engines[int(file.name)], budget=BUDGET)
    dog = Watchdog(device_timeout=600)
    return cache, Inference(cache=cache, watchdog=dog), files


def outcome(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except (ModelInvalid, DeviceOutOfMemory) as error:
        return error


def together(
    inference: Inference,
    engine: HeldEngine,
    images: Sequence[Images],
    *,
    squeeze: int | None = None,
) -> list[Any]:
    """Submit the images at once and return their results or errors; the first holds up the rest.

    `squeeze` limits the process to that many more bytes once all threads wait.
    """

    def run(image: Images) -> Any:
        return outcome(lambda: inference.infer(engine, image, name="own").result)

    with ThreadPoolExecutor(len(images)) as pool:
        results = [pool.submit(run, image) for image in images]
        until_blocked_in(batching, len(images))
        if squeeze is not None:
            leave(squeeze)
        engine.go.set()
        return [result.result() for result in results]


def grey(level: float, side: int = 8) -> Images:
    return np.full((1, 3, side, side), level, np.float32)
