"""An engine that records its batches, and a model that needs much memory."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from tests.support.tiny_models import saved, value
from worker.models.engines.onnx.engine import OnnxEngine


class RecordingEngine:
    """A real engine that records its batches and has a segmenter, as an engine on a GPU does."""

    def __init__(self, engine: OnnxEngine) -> None:
        self.facts, self.input_size, self.bytes = engine.facts, engine.input_size, engine.bytes
        self.segmenter = engine.build_segmenter()
        self.max_batch = engine.max_batch
        self.close = engine.close
        self.shapes: list[tuple[int, ...]] = []
        self._engine = engine

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self.shapes.append(batch.shape)
        return self._engine.infer(batch)


def tiled_mean(path: Path, *axes: int | str) -> Path:
    """Write a model of the channels' mean that takes 48 MiB for an image of 256×256 pixels."""
    nodes = [
        helper.make_node("Constant", [], ["times"], value_ints=[1, 32, 1, 1]),
        helper.make_node("Tile", ["x", "times"], ["many"]),
        helper.make_node("Exp", ["many"], ["powers"]),
        helper.make_node("ReduceMean", ["powers"], ["y"], axes=[1], keepdims=1),
    ]
    return saved(path, nodes, [value("x", axes)], [value("y", (axes[0], 1, *axes[2:]))])
