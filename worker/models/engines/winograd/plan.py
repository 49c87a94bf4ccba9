"""An ONNX graph as steps over memory that is laid out once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from onnx import ModelProto
from onnx.shape_inference import InferenceError

from worker.models.engines.winograd.layers import Filtering, Gathering, Layer, Step
from worker.models.engines.winograd.layout import laid_out, together
from worker.models.engines.winograd.operations import operations_of, shapes_of
from worker.models.engines.winograd.steps import step_of
from worker.models.engines.winograd.unsupported import UnsupportedGraph

_MANY: Final = 32
"""Channels. With 16 ONNX Runtime took half of this engine's time."""
_MOST_NUMBERS: Final = 2**28
"""Of a layer; all of them are laid out before the first image comes."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """Steps that make a map of an image, in memory that they share."""

    image: Layer
    map: Layer
    steps: Sequence[Step]

    @property
    def wide(self) -> float:
        """The share of multiplications between many channels, in which filtering gains."""
        done = [(step, step.weights.size * len(step.places)) for step in self._filterings]
        gains = sum(
            products
            for step, products in done
            if min(step.source.channels, step.target.channels) >= _MANY
        )
        return gains / (sum(products for _, products in done) or 1)

    @property
    def _filterings(self) -> list[Filtering]:
        return [step for step in self.steps if isinstance(step, Filtering)]

    @property
    def layer_bytes(self) -> int:
        """What layers lie in: an array each, or a part of one."""
        found: dict[int, int] = {}
        for step in self.steps:
            pixels = step.target.pixels
            # One after the other, layers of several sizes lie in the same memory.
            found[pixels.ctypes.data] = max(found.get(pixels.ctypes.data, 0), pixels.nbytes)
        return sum(found.values())

    @property
    def weight_bytes(self) -> int:
        """What convolutions hold for good."""
        return sum(
            step.weights.nbytes for step in self.steps if isinstance(step, (Filtering, Gathering))
        )


def plan(model: ModelProto) -> Network:
    """The steps of a prepared graph with one float32 input (1, 3, H, W) and one output.

    Raises `UnsupportedGraph` where it has other operators than ISNet and U²-Net have, or sizes that
    are not known beforehand.
    """
    try:
        return _plan(model)
    except (InferenceError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # Of a graph that is wrong in itself ONNX Runtime says what is.
        raise UnsupportedGraph(f"{type(error).__name__}: {error}") from error


def _plan(model: ModelProto) -> Network:
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    weights |= {
        node.output[0]: attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    (fed,) = (value.name for value in model.graph.input if value.name not in weights)
    shapes = shapes_of(model, fed)
    operations, result = operations_of(model, shapes, fed)
    if fed not in shapes or shapes[fed].channels != 3:
        raise UnsupportedGraph(f"expected an input (1, 3, H, W), found {shapes.get(fed)}")
    for name, axes in shapes.items():
        if not 0 < math.prod(axes) <= _MOST_NUMBERS or min(axes) < 1:
            raise UnsupportedGraph(f"expected at most {_MOST_NUMBERS:,} numbers of {name}: {axes}")
    if result not in shapes or shapes[result].channels != 1:
        raise UnsupportedGraph("expected one map as the output")
    operations, places = together(operations, shapes, fed=fed)
    layers = laid_out(operations, places, shapes, fed=fed, result=result)
    return Network(
        image=layers[fed],
        map=layers[result],
        steps=[step_of(operation, layers, weights) for operation in operations],
    )
