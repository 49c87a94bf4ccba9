"""Plan a network: an ONNX graph as steps over memory that is allocated once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from onnx import ModelProto
from onnx.shape_inference import InferenceError

from worker.models.engines.winograd.build_step import build_step
from worker.models.engines.winograd.convolution import Convolution, WinogradConvolution
from worker.models.engines.winograd.layer import Layer
from worker.models.engines.winograd.layout import allocate_layers, merge_concatenations
from worker.models.engines.winograd.operation import UnsupportedGraph, infer_shapes, read_operations
from worker.models.engines.winograd.step import Step

_WIDE_CHANNELS: Final = 32
"""Channels from which a layer is wide. With 16, ONNX Runtime took half of this engine's time."""
_MAX_OPERATIONS: Final = 5_000
"""ISNet has some three hundred; the time to plan grows with the square of their number."""
_MAX_ELEMENTS: Final = 2**28
"""Elements of a layer; all layers are allocated before the first image."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """Steps that compute a saliency map of an image, in memory that they share."""

    image: Layer
    saliency: Layer
    steps: Sequence[Step]

    @property
    def wide_share(self) -> float:
        """The share of multiplications between wide layers, where Winograd convolution gains."""
        convolutions = [step for step in self.steps if isinstance(step, WinogradConvolution)]
        wide = sum(
            _multiplications(step)
            for step in convolutions
            if min(step.source.channels, step.target.channels) >= _WIDE_CHANNELS
        )
        return wide / (sum(map(_multiplications, convolutions)) or 1)

    @property
    def bytes(self) -> int:
        """Bytes of the layers' arrays, and of the weights in the form in which steps hold them."""
        sizes: dict[int, int] = {}
        for step in self.steps:
            # Arrays of several sizes use the same memory one after the other.
            address, size = step.target.array.ctypes.data, step.target.array.nbytes
            sizes[address] = max(sizes.get(address, 0), size)
        convolutions = (step for step in self.steps if isinstance(step, Convolution))
        return sum(sizes.values()) + sum(step.weights.nbytes for step in convolutions)


def _multiplications(step: WinogradConvolution) -> int:
    return step.weights.size * len(step.tiles)


def plan(model: ModelProto) -> Network:
    """Plan a prepared graph with one float32 input (1, 3, H, W) and one output (1, 1, h, w).

    Raises `UnsupportedGraph` where it has operators that neither ISNet nor U²-Net has, or sizes
    that are not known in advance.
    """
    try:
        return _plan(model)
    except (InferenceError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # An invalid graph; ONNX Runtime will say what is wrong with it.
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
    (input_name,) = (value.name for value in model.graph.input if value.name not in weights)
    shapes = infer_shapes(model, input_name)
    operations, output_name = read_operations(model, shapes, input_name)
    if len(operations) > _MAX_OPERATIONS:
        raise UnsupportedGraph(
            f"expected at most {_MAX_OPERATIONS:,} operations, found {len(operations):,}"
        )
    if input_name not in shapes or shapes[input_name].channels != 3:
        raise UnsupportedGraph(f"expected an input (1, 3, H, W), found {shapes.get(input_name)}")
    for name, shape in shapes.items():
        if not 0 < math.prod(shape) <= _MAX_ELEMENTS or min(shape) < 1:
            raise UnsupportedGraph(f"{name}: expected at most {_MAX_ELEMENTS:,} elements: {shape}")
    if output_name not in shapes or shapes[output_name].channels != 1:
        raise UnsupportedGraph("expected an output with one channel")
    operations, locations = merge_concatenations(operations, shapes, input_name=input_name)
    layers = allocate_layers(
        operations, locations, shapes, input_name=input_name, output_name=output_name
    )
    return Network(
        image=layers[input_name],
        saliency=layers[output_name],
        steps=[build_step(operation, layers, weights) for operation in operations],
    )
