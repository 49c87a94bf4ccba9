"""ONNX graphs for the steps before and after a network, for any device of ONNX Runtime."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from worker.imaging.lanczos import ROUNDING_MARGIN
from worker.imaging.masks import SALIENCY_THRESHOLD

_OPSET: Final = 17
_IR: Final = 8


def input_graph(element: int) -> ModelProto:
    """Return a graph that turns an image into a model's input, as `masks.to_input` does.

    Inputs: `image` uint8 (H, W, 3), `vertical` (h, H), `horizontal` (W, w), `scale` and `offset`
    (3, 1, 1), all float32, `channel_order` int64 (3). Output: `x` (1, 3, h, w), of the ONNX element
    type `element`.
    """
    nodes = [
        # The height first: with interleaved colours the image is a matrix (H, 3·W), so that the
        # large image need not be transposed. The other order would save at most a tenth of the
        # multiplications.
        _node("Cast", ["image"], "levels", to=TensorProto.FLOAT),
        _node("Reshape", ["levels", "matrix"], "rows"),
        _node("MatMul", ["vertical", "rows"], "resized_rows"),
        _node("Reshape", ["resized_rows", "interleaved"], "columns"),
        _node("Transpose", ["columns"], "planes", perm=[2, 0, 1]),
        _node("MatMul", ["planes", "horizontal"], "resized"),
        # A resized image has integer values of 0…255 again; LANCZOS overshoots at edges.
        _node("Clip", ["resized", "zero", "peak"], "clipped"),
        _node("Round", ["clipped"], "rounded"),
        _node("Mul", ["rounded", "scale"], "scaled"),
        _node("Add", ["scaled", "offset"], "normalised"),
        _node("Gather", ["normalised", "channel_order"], "ordered", axis=0),
        _node("Unsqueeze", ["ordered", "first"], "batch"),
        _node("Cast", ["batch"], "x", to=element),
    ]
    inputs = [
        _value("image", TensorProto.UINT8, ["H", "W", 3]),
        _value("vertical", TensorProto.FLOAT, ["h", "H"]),
        _value("horizontal", TensorProto.FLOAT, ["W", "w"]),
        _value("scale", TensorProto.FLOAT, [3, 1, 1]),
        _value("offset", TensorProto.FLOAT, [3, 1, 1]),
        _value("channel_order", TensorProto.INT64, [3]),
    ]
    constants: dict[str, ArrayLike] = {
        "matrix": np.array([0, -1]),
        "interleaved": np.array([0, -1, 3]),
        "first": np.array([0]),
        "zero": np.float32(0),
        "peak": np.float32(255),
    }
    return _model(nodes, inputs, [_value("x", element, [1, 3, "h", "w"])], constants)


def mask_graph(
    *, element: int, rank: int, channels: int | None, sigmoid: bool, stretch: bool
) -> ModelProto:
    """Return a graph that turns one saliency map of a batch into a mask, as `masks.soft_mask` does.

    Inputs: `maps` of the ONNX element type `element` with `rank` axes, `index` int64 (1), the map's
    place in the batch, `vertical` (H, h) and `horizontal` (w, W), float32. Outputs: `mask` uint8
    (H, W), and `statistics` float32 (3): minimum, maximum, and 0, or NaN where the network's output
    contains NaN or infinity. `channels` is the axis of channels, of which the first is the map;
    None: there is no such axis.
    """
    axes = [axis for axis in range(1, rank) if axis != channels]
    nodes = [
        _node("Gather", ["maps", "index"], "image_maps", axis=0),
        *(
            []
            if channels is None
            else [_node("Gather", ["image_maps", "index0"], "channel", axis=channels)]
        ),
        _node(
            "Cast", ["image_maps" if channels is None else "channel"], "wide", to=TensorProto.FLOAT
        ),
        _node("Shape", ["wide"], "shape"),
        _node("Gather", ["shape", "sides"], "plane"),
        _node("Reshape", ["wide", "plane"], "raw"),
        # Infinity times 0 is NaN, and a sum with a NaN in it is NaN.
        _node("Mul", ["raw", "zero"], "zeros"),
        _node("ReduceSum", ["zeros"], "finite"),
        _node("Sigmoid" if sigmoid else "Identity", ["raw"], "map"),
        _node("ReduceMin", ["map"], "minimum"),
        _node("ReduceMax", ["map"], "maximum"),
        _node("Sub", ["maximum", "minimum"], "span"),
        _node("Greater", ["maximum", "threshold"], "is_salient"),
    ]
    if stretch:
        nodes += [
            _node("GreaterOrEqual", ["span", "level"], "varies"),
            _node("And", ["is_salient", "varies"], "has_foreground"),
            _node("Sub", ["map", "minimum"], "difference"),
            _node("Div", ["difference", "span"], "stretched"),
        ]
    else:
        nodes += [
            _node("Identity", ["is_salient"], "has_foreground"),
            _node("Identity", ["map"], "stretched"),
        ]
    nodes += [
        _node("Where", ["has_foreground", "stretched", "zero"], "saliency"),
        _node("MatMul", ["saliency", "horizontal"], "resized_columns"),
        _node("MatMul", ["vertical", "resized_columns"], "resized"),
        # Rounding must not push a full mask just below 255, see `worker.imaging.upsample`.
        _node("Add", ["resized", "rounding_margin"], "sum"),
        _node("Mul", ["sum", "peak"], "levels"),
        _node("Clip", ["levels", "zero", "peak"], "clipped"),
        _node("Cast", ["clipped"], "mask", to=TensorProto.UINT8),
        _node("Concat", ["minimum", "maximum", "finite"], "column", axis=0),
        _node("Reshape", ["column", "three"], "statistics"),
    ]
    inputs = [
        _value("maps", element, [f"n{axis}" for axis in range(rank)]),
        _value("index", TensorProto.INT64, [1]),
        _value("vertical", TensorProto.FLOAT, ["H", "h"]),
        _value("horizontal", TensorProto.FLOAT, ["w", "W"]),
    ]
    outputs = [
        _value("mask", TensorProto.UINT8, ["H", "W"]),
        _value("statistics", TensorProto.FLOAT, [3]),
    ]
    constants: dict[str, ArrayLike] = {
        "index0": np.array([0]),
        "sides": np.array(axes),
        "three": np.array([3]),
        "zero": np.float32(0),
        "peak": np.float32(255),
        "rounding_margin": ROUNDING_MARGIN,
        "threshold": np.float32(SALIENCY_THRESHOLD),
        "level": np.float32(1 / 255),
    }
    return _model(nodes, inputs, outputs, constants)


def _node(operator: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs, [output], **attributes)


def _value(name: str, element: int, axes: list[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, element, axes)


def _model(
    nodes: list[NodeProto],
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
    constants: Mapping[str, ArrayLike],
) -> ModelProto:
    used = {name for node in nodes for name in node.input}
    weights = [
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in constants.items()
        if name in used
    ]
    graph = helper.make_graph(nodes, "cutwork", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
