"""The steps before and after a network as ONNX graphs, for any device that ONNX Runtime knows."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from worker.imaging.lanczos import ROUNDING_MARGIN
from worker.imaging.masks import SALIENCY_THRESHOLD

_OPSET: Final = 17
_IR: Final = 8


def squash_graph(element: int) -> ModelProto:
    """A picture to a model's input, (1, 3, h, w) of an ONNX element type.

    Inputs: `picture` uint8 (H, W, 3), `down` (h, H), `across` (W, w), `scale` and `offset`
    (3, 1, 1), `order` int64 (3). Output: `x`. What `worker.imaging.masks.to_input` does.
    """
    steps = [
        # Height first: with its colours side by side a row is one long row, and the large picture
        # need not be transposed. The other order would save a tenth of the product at most.
        _node("Cast", ["picture"], "levels", to=TensorProto.FLOAT),
        _node("Reshape", ["levels", "flat"], "rows"),
        _node("MatMul", ["down", "rows"], "lower"),
        _node("Reshape", ["lower", "coloured"], "columns"),
        _node("Transpose", ["columns"], "planes", perm=[2, 0, 1]),
        _node("MatMul", ["planes", "across"], "small"),
        # A resized picture has levels again, which an edge's overshoot is none of.
        _node("Clip", ["small", "zero", "peak"], "clipped"),
        _node("Round", ["clipped"], "rounded"),
        _node("Mul", ["rounded", "scale"], "scaled"),
        _node("Add", ["scaled", "offset"], "shifted"),
        _node("Gather", ["shifted", "order"], "ordered", axis=0),
        _node("Unsqueeze", ["ordered", "first"], "one"),
        _node("Cast", ["one"], "x", to=element),
    ]
    inputs = [
        _value("picture", TensorProto.UINT8, ["H", "W", 3]),
        _value("down", TensorProto.FLOAT, ["h", "H"]),
        _value("across", TensorProto.FLOAT, ["W", "w"]),
        _value("scale", TensorProto.FLOAT, [3, 1, 1]),
        _value("offset", TensorProto.FLOAT, [3, 1, 1]),
        _value("order", TensorProto.INT64, [3]),
    ]
    constants: dict[str, ArrayLike] = {
        "flat": np.array([0, -1]),
        "coloured": np.array([0, -1, 3]),
        "first": np.array([0]),
        "zero": np.float32(0),
        "peak": np.float32(255),
    }
    return _model(steps, inputs, [_value("x", element, [1, 3, "h", "w"])], constants)


def mask_graph(
    *, element: int, rank: int, channels: int | None, sigmoid: bool, stretch: bool
) -> ModelProto:
    """One of a network's maps to a mask, and what is to be known of the map.

    Inputs: `maps` of an ONNX element type and a rank, `index` int64 (1), `down` (H, h), `across`
    (w, W). Outputs: `mask` uint8 (H, W), `facts` (3): minimum, maximum, and 0, or NaN where the
    network's output is not all numbers. `channels`: the axis of channels, of which the first is the
    map; None: there is none. What `worker.imaging.masks.soft_mask` does.
    """
    axes = [axis for axis in range(1, rank) if axis != channels]
    steps = [
        _node("Gather", ["maps", "index"], "chosen", axis=0),
        *([] if channels is None else [_node("Gather", ["chosen", "index0"], "c", axis=channels)]),
        _node("Cast", ["chosen" if channels is None else "c"], "wide", to=TensorProto.FLOAT),
        _node("Shape", ["wide"], "shape"),
        _node("Gather", ["shape", "sides"], "plane"),
        _node("Reshape", ["wide", "plane"], "raw"),
        # Infinity times 0 is NaN, and with a NaN in it so is a sum.
        _node("Mul", ["raw", "zero"], "nothing"),
        _node("ReduceSum", ["nothing"], "sound"),
        _node("Sigmoid" if sigmoid else "Identity", ["raw"], "map"),
        _node("ReduceMin", ["map"], "low"),
        _node("ReduceMax", ["map"], "high"),
        _node("Sub", ["high", "low"], "span"),
        _node("Greater", ["high", "salient"], "shows"),
    ]
    if stretch:
        steps += [
            _node("GreaterOrEqual", ["span", "level"], "varies"),
            _node("And", ["shows", "varies"], "kept"),
            _node("Sub", ["map", "low"], "above"),
            _node("Div", ["above", "span"], "read"),
        ]
    else:
        steps += [_node("Identity", ["shows"], "kept"), _node("Identity", ["map"], "read")]
    steps += [
        _node("Where", ["kept", "read", "zero"], "saliency"),
        _node("MatMul", ["saliency", "across"], "rows"),
        _node("MatMul", ["down", "rows"], "large"),
        # What is full in theory is full, as in `worker.imaging.upsample`.
        _node("Add", ["large", "slight"], "sum"),
        _node("Mul", ["sum", "peak"], "levels"),
        _node("Clip", ["levels", "zero", "peak"], "clipped"),
        _node("Cast", ["clipped"], "mask", to=TensorProto.UINT8),
        _node("Concat", ["low", "high", "sound"], "column", axis=0),
        _node("Reshape", ["column", "three"], "facts"),
    ]
    inputs = [
        _value("maps", element, [f"n{axis}" for axis in range(rank)]),
        _value("index", TensorProto.INT64, [1]),
        _value("down", TensorProto.FLOAT, ["H", "h"]),
        _value("across", TensorProto.FLOAT, ["w", "W"]),
    ]
    outputs = [
        _value("mask", TensorProto.UINT8, ["H", "W"]),
        _value("facts", TensorProto.FLOAT, [3]),
    ]
    constants: dict[str, ArrayLike] = {
        "index0": np.array([0]),
        "sides": np.array(axes),
        "three": np.array([3]),
        "zero": np.float32(0),
        "peak": np.float32(255),
        "slight": ROUNDING_MARGIN,
        "salient": np.float32(SALIENCY_THRESHOLD),
        "level": np.float32(1 / 255),
    }
    return _model(steps, inputs, outputs, constants)


def _node(operator: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs, [output], **attributes)


def _value(name: str, element: int, axes: list[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, element, axes)


def _model(
    steps: list[NodeProto],
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
    constants: Mapping[str, ArrayLike],
) -> ModelProto:
    read = {name for step in steps for name in step.input}
    weights = [
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in constants.items()
        if name in read
    ]
    graph = helper.make_graph(steps, "cutwork", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
