"""Build the step of an operation, if the kernels implement it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper
from scipy.special import expit

from worker.models.engines.winograd import kernels
from worker.models.engines.winograd.convolution import (
    Im2colConvolution,
    WinogradConvolution,
    tile_origins,
    transform_weights,
)
from worker.models.engines.winograd.layer import Layer
from worker.models.engines.winograd.operation import Operation, UnsupportedGraph
from worker.models.engines.winograd.step import Elementwise, Resample, Step, relu

Attributes = Mapping[str, Any]
Weights = Mapping[str, TensorProto]

_HALF_PIXEL: Final = {b"half_pixel", b"pytorch_half_pixel"}
_RESIZE_ATTRIBUTES: Final = {
    *("mode", "coordinate_transformation_mode", "antialias", "nearest_mode", "cubic_coeff_a"),
    "exclude_outside",
}
"""Attributes of `Resize` that are checked, or do not matter in linear mode."""
_ELEMENTWISE: Final[dict[str, Callable[..., object]]] = {
    "Add": np.add,
    "Copy": np.positive,
    "Relu": relu,
    "Sigmoid": expit,
}
_MAX_DISTANCE: Final = 2**12
"""Pixels of dilation, stride or padding; the compiled kernels do not check for overflows."""


def build_step(operation: Operation, layers: Mapping[str, Layer], weights: Weights) -> Step:
    """Return the step that computes an operation's target.

    Raises `UnsupportedGraph` where the kernels do not implement its attributes or shapes.
    """
    source, target = layers[operation.sources[0]], layers[operation.target]
    attributes = {item.name: helper.get_attribute_value(item) for item in operation.node.attribute}
    match operation.kind:
        case "Conv":
            return _convolution(operation, attributes, source, target, weights)
        case "MaxPool":
            _check_max_pool(attributes, source, target)
            return Resample(kernel=kernels.max_pool, source=source, target=target)
        case "Resize":
            _check_resize(operation.node, attributes, source, target, weights)
            return Resample(kernel=kernels.resize, source=source, target=target)
    sources = [layers[name] for name in operation.sources]
    if len(sources) != (2 if operation.kind == "Add" else 1):
        raise UnsupportedGraph(f"{operation.kind} of {len(sources)} layers")
    if any(layer.view.shape != target.view.shape for layer in sources):
        raise UnsupportedGraph(f"{operation.kind} of layers of several sizes")
    function = _ELEMENTWISE[operation.kind]
    return Elementwise(function=function, sources=sources, target=target)


def _check_max_pool(attributes: Attributes, source: Layer, target: Layer) -> None:
    """Raise `UnsupportedGraph` unless `kernels.max_pool` computes this `MaxPool`."""
    sides, strides = attributes["kernel_shape"], attributes.get("strides")
    is_padded = any(attributes.get("pads", ())) or _has_auto_pad(attributes)
    is_dilated = set(attributes.get("dilations", [1])) != {1}
    if sides != [2, 2] or strides != [2, 2] or is_padded or is_dilated:
        raise UnsupportedGraph(f"expected MaxPool of 2×2, found {attributes}")
    if any(
        (before + 1) // 2 < after
        for before, after in zip(source.view.shape, target.view.shape[:2], strict=False)
    ):
        raise UnsupportedGraph("expected MaxPool to halve the layer")


def _check_resize(
    node: NodeProto, attributes: Attributes, source: Layer, target: Layer, weights: Weights
) -> None:
    """Raise `UnsupportedGraph` unless `kernels.resize` computes this `Resize`."""
    mode = attributes.get("coordinate_transformation_mode", b"half_pixel")
    before, after = source.view.shape, target.view.shape
    is_linear = attributes.get("mode") == b"linear" and set(attributes) <= _RESIZE_ATTRIBUTES
    is_half_pixel = mode in _HALF_PIXEL
    if not is_linear or not is_half_pixel or attributes.get("antialias") or len(node.input) < 3:
        raise UnsupportedGraph(f"expected a linear Resize by half_pixel, found {attributes}")
    if before[2] != after[2] or (mode == b"pytorch_half_pixel" and 1 in after[:2]):
        raise UnsupportedGraph(f"expected a Resize of the sides, found {before} to {after}")
    scales = numpy_helper.to_array(weights[node.input[2]])[2:] if node.input[2] else np.array([])
    # ONNX places the pixels by the given scale, the kernel by the quotient of the sizes; these
    # differ where the target's size was rounded.
    exact = np.multiply(before[:2], scales) if scales.size else after[:2]
    if not np.allclose(exact, after[:2], rtol=0, atol=1e-3):
        raise UnsupportedGraph(f"expected a Resize to whole pixels, found scales {scales}")


def _has_auto_pad(attributes: Attributes) -> bool:
    return bool(attributes.get("auto_pad", b"NOTSET") != b"NOTSET")


def _convolution(
    operation: Operation, attributes: Attributes, source: Layer, target: Layer, weights: Weights
) -> Step:
    _, weight_name, *bias_names = operation.node.input
    if weight_name not in weights or not set(bias_names) <= weights.keys():
        raise UnsupportedGraph("expected a Conv with constant weights")
    values = numpy_helper.to_array(weights[weight_name])
    side, dilations = values.shape[-1], set(attributes.get("dilations", [1]))
    strides, pads = set(attributes.get("strides", [1])), attributes.get("pads", [0])
    is_square = values.shape[2:] == (side, side) and len(dilations) == len(strides) == 1
    if not is_square or attributes.get("group", 1) != 1 or _has_auto_pad(attributes):
        raise UnsupportedGraph(f"expected a Conv with a square kernel, found {attributes}")
    (dilation,), (stride,) = dilations, strides
    distances = (dilation, stride, *pads)
    if max(distances) > _MAX_DISTANCE or min(distances) < 0:
        raise UnsupportedGraph(f"expected a Conv of nearby pixels, found {attributes}")
    if attributes.get("kernel_shape", [side, side]) != [side, side]:
        raise UnsupportedGraph(f"expected weights of {attributes['kernel_shape']}, found {side}")
    if values.shape[:2] != (target.channels, source.channels) or values.dtype != np.float32:
        raise UnsupportedGraph(f"expected weights for the channels, found {values.shape}")
    bias = np.zeros(len(values), np.float32)
    if bias_names:
        bias += numpy_helper.to_array(weights[bias_names[0]])
    lower_bound = np.float32(0 if operation.has_relu else -np.inf)
    keeps_size = source.view.shape[:2] == target.view.shape[:2]
    if side == 3 and stride == 1 and set(pads) == {dilation} and keeps_size:
        height, width, _ = target.array.shape
        return WinogradConvolution(
            source=source,
            target=target,
            weights=transform_weights(values),
            bias=bias,
            lower_bound=lower_bound,
            dilation=dilation,
            tiles=tile_origins(height, width, dilation),
        )
    if len(set(pads[:2])) != 1:
        raise UnsupportedGraph(f"expected a Conv with the same pads above and left, found {pads}")
    return Im2colConvolution(
        source=source,
        target=target,
        weights=values.transpose(2, 3, 1, 0).reshape(-1, len(values)).copy(),
        bias=bias,
        lower_bound=lower_bound,
        side=side,
        stride=stride,
        dilation=dilation,
        padding=pads[0],
    )
