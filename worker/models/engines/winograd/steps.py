"""The step of an operation, where it is one that the kernels do."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from worker.models.engines.winograd import kernels
from worker.models.engines.winograd.layers import (
    Each,
    Filtering,
    Gathering,
    Layer,
    Sampling,
    Step,
    frequencies,
    tiles,
)
from worker.models.engines.winograd.operations import Operation
from worker.models.engines.winograd.unsupported import UnsupportedGraph

_HALF_PIXEL: Final = {b"half_pixel", b"pytorch_half_pixel"}
_RESIZING: Final = {
    *("mode", "coordinate_transformation_mode", "antialias", "nearest_mode", "cubic_coeff_a"),
    "exclude_outside",
}
"""Attributes that are looked at, or have no say in a linear `Resize`."""
_EACH: Final = {"Add": "add", "Relu": "relu", "Sigmoid": "sigmoid"}
_FARTHEST: Final = 2**12
"""Pixels that a convolution steps, strides or pads: compiled loops do not look for overflows."""


def step_of(
    each: Operation, layers: Mapping[str, Layer], weights: Mapping[str, TensorProto]
) -> Step:
    """What writes an operation's target.

    Raises `UnsupportedGraph` where its attributes or shapes are none of those the kernels are for.
    """
    source, target = layers[each.sources[0]], layers[each.target]
    attributes = {item.name: helper.get_attribute_value(item) for item in each.node.attribute}
    match each.kind:
        case "Conv":
            return _convolution(each, attributes, source, target, weights)
        case "MaxPool":
            sides, strides = attributes["kernel_shape"], attributes.get("strides")
            plain = not any(attributes.get("pads", ())) and not _pads_itself(attributes)
            if sides != [2, 2] or strides != [2, 2] or not plain or not _is_dense(attributes):
                raise UnsupportedGraph(f"expected MaxPool of 2×2, found {attributes}")
            if any(
                (there + 1) // 2 < made
                for there, made in zip(source.part.shape, target.part.shape[:2], strict=False)
            ):
                raise UnsupportedGraph("MaxPool makes more than it has")
            return Sampling(kernel=kernels.pooled, source=source, target=target)
        case "Resize":
            _check_resize(each.node, attributes, source, target, weights)
            return Sampling(kernel=kernels.resized, source=source, target=target)
        case "Copy":
            return Each(kind="copy", sources=[source], target=target)
    sources = [layers[name] for name in each.sources]
    if len(sources) != (2 if each.kind == "Add" else 1):
        raise UnsupportedGraph(f"{each.kind} of {len(sources)} layers")
    if any(layer.part.shape != target.part.shape for layer in sources):
        raise UnsupportedGraph(f"{each.kind} of layers of several sizes")
    return Each(kind=_EACH[each.kind], sources=sources, target=target)


def _check_resize(
    node: NodeProto,
    attributes: Mapping[str, Any],
    source: Layer,
    target: Layer,
    weights: Mapping[str, TensorProto],
) -> None:
    """Raise `UnsupportedGraph` where a `Resize` is not what `kernels.resized` does."""
    way = attributes.get("coordinate_transformation_mode", b"half_pixel")
    before, after = source.part.shape, target.part.shape
    known = attributes.get("mode") == b"linear" and set(attributes) <= _RESIZING
    if not known or way not in _HALF_PIXEL or attributes.get("antialias") or len(node.input) < 3:
        raise UnsupportedGraph(f"expected a linear Resize by half_pixel, found {attributes}")
    if before[2] != after[2] or (way == b"pytorch_half_pixel" and 1 in after[:2]):
        raise UnsupportedGraph(f"expected a Resize of the sides, found {before} to {after}")
    scales = numpy_helper.to_array(weights[node.input[2]])[2:] if node.input[2] else np.array([])
    # Pixels lie by the scale, which a size that was rounded does not give back.
    exact = np.multiply(before[:2], scales) if scales.size else after[:2]
    if not np.allclose(exact, after[:2], rtol=0, atol=1e-3):
        raise UnsupportedGraph(f"expected a Resize to whole pixels, found scales {scales}")


def _pads_itself(attributes: Mapping[str, Any]) -> bool:
    return bool(attributes.get("auto_pad", b"NOTSET") != b"NOTSET")


def _is_dense(attributes: Mapping[str, Any]) -> bool:
    return set(attributes.get("dilations", [1])) == {1}


def _convolution(
    each: Operation,
    attributes: Mapping[str, Any],
    source: Layer,
    target: Layer,
    weights: Mapping[str, TensorProto],
) -> Step:
    _, kernel, *bias = each.node.input
    if kernel not in weights or not set(bias) <= weights.keys():
        raise UnsupportedGraph("expected a Conv whose weights are known")
    values = numpy_helper.to_array(weights[kernel])
    side, steps = values.shape[-1], set(attributes.get("dilations", [1]))
    strides, pads = set(attributes.get("strides", [1])), attributes.get("pads", [0])
    square = values.shape[2:] == (side, side) and len(steps) == len(strides) == 1
    if not square or attributes.get("group", 1) != 1 or _pads_itself(attributes):
        raise UnsupportedGraph(f"expected a Conv of a square, found {attributes}")
    (step,), (stride,) = steps, strides
    if max(step, stride, *map(abs, pads)) > _FARTHEST or min(step, stride, *pads) < 0:
        raise UnsupportedGraph(f"expected a Conv of nearby pixels, found {attributes}")
    if attributes.get("kernel_shape", [side, side]) != [side, side]:
        raise UnsupportedGraph(f"expected weights of {attributes['kernel_shape']}, found {side}")
    if values.shape[:2] != (target.channels, source.channels) or values.dtype != np.float32:
        raise UnsupportedGraph(f"expected weights for the channels, found {values.shape}")
    added = np.zeros(len(values), np.float32)
    if bias:
        added += numpy_helper.to_array(weights[bias[0]])
    same = source.part.shape[:2] == target.part.shape[:2]
    if side == 3 and stride == 1 and set(pads) == {step} and same:
        height, width, _ = target.pixels.shape
        return Filtering(
            source=source,
            target=target,
            weights=frequencies(values),
            bias=added,
            rectified=each.rectified,
            step=step,
            places=tiles(height, width, step),
        )
    if len(set(pads[:2])) != 1:
        raise UnsupportedGraph(f"expected a Conv with the same pads above and left, found {pads}")
    return Gathering(
        source=source,
        target=target,
        weights=values.transpose(2, 3, 1, 0).reshape(-1, len(values)).copy(),
        bias=added,
        rectified=each.rectified,
        side=side,
        stride=stride,
        step=step,
        before=pads[0],
    )
