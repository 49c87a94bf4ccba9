"""An ONNX graph as steps over memory that is laid out once."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.shape_inference import InferenceError

from worker.models.batch_axis import followed, skeleton
from worker.models.output import shape
from worker.models.winograd.layers import (
    Each,
    Filtering,
    Floats,
    Gathering,
    Layer,
    Pooling,
    Resizing,
    Step,
    frequencies,
    tiles,
)
from worker.models.winograd.unsupported import UnsupportedGraph

_HALF_PIXEL: Final = {b"half_pixel", b"pytorch_half_pixel"}
_RESIZING: Final = {
    *("mode", "coordinate_transformation_mode", "antialias", "nearest_mode", "cubic_coeff_a"),
    "exclude_outside",
}
"""Attributes that are looked at, or have no say in a linear `Resize`."""
_EACH: Final = {"Add": "add", "Relu": "relu", "Sigmoid": "sigmoid"}
_KINDS: Final = {"Conv", "MaxPool", "Resize", "Concat", *_EACH}
_MANY: Final = 32
"""Channels. With 16 ONNX Runtime took half of this engine's time."""
_MOST_NUMBERS: Final = 2**28
"""Of a layer; all of them are laid out before the first image comes."""
_FARTHEST: Final = 2**12
"""Pixels that a convolution steps, strides or pads: compiled loops do not look for overflows."""


class Shape(NamedTuple):
    """Of a layer, of one image."""

    height: int
    width: int
    channels: int


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


@dataclass(frozen=True, kw_only=True)
class _Operation:
    kind: str
    sources: tuple[str, ...]
    target: str
    node: NodeProto
    rectified: bool = False


class _Place(NamedTuple):
    """Where a layer lies: from which channel of which other, or of itself."""

    base: str
    first: int


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
    shapes = _shapes(model, fed)
    operations, result = _operations(model, shapes, fed)
    if fed not in shapes or shapes[fed].channels != 3:
        raise UnsupportedGraph(f"expected an input (1, 3, H, W), found {shapes.get(fed)}")
    for name, axes in shapes.items():
        if not 0 < math.prod(axes) <= _MOST_NUMBERS or min(axes) < 1:
            raise UnsupportedGraph(f"expected at most {_MOST_NUMBERS:,} numbers of {name}: {axes}")
    if result not in shapes or shapes[result].channels != 1:
        raise UnsupportedGraph("expected one map as the output")
    operations, places = _together(operations, shapes, fed=fed)
    layers = _laid_out(operations, places, shapes, fed=fed, result=result)
    return Network(
        image=layers[fed],
        map=layers[result],
        steps=[_step(operation, layers, weights) for operation in operations],
    )


def _shapes(model: ModelProto, fed: str) -> dict[str, Shape]:
    """Of everything that has the axes of an image, for a batch of 1."""
    if any(item.domain in ("", "ai.onnx") and item.version < 11 for item in model.opset_import):
        raise UnsupportedGraph("expected operators of version 11 or later, as Resize changed there")
    bare = followed(skeleton(model))
    for value in bare.graph.input:
        if value.name == fed:
            batch = (shape(value) or (None,))[0]
            if isinstance(batch, int) and batch != 1:
                raise UnsupportedGraph(f"expected a graph for any number of images, found {batch}")
            value.type.tensor_type.shape.dim[0].dim_value = 1
    del bare.graph.value_info[:]
    bare.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True).graph
    found = {}
    # Of the inputs that alone; the others are weights.
    images = [value for value in inferred.input if value.name == fed]
    for value in (*images, *inferred.value_info, *inferred.output):
        axes = shape(value)
        if (
            value.type.tensor_type.elem_type == TensorProto.FLOAT
            and axes is not None
            and len(axes) == 4
            and axes[0] == 1
            and all(isinstance(axis, int) for axis in axes)
        ):
            _, channels, height, width = (int(axis) for axis in axes if axis is not None)
            found[value.name] = Shape(height, width, channels)
    return found


def _operations(
    model: ModelProto, shapes: Mapping[str, Shape], fed: str
) -> tuple[list[_Operation], str]:
    """What is done with layers, with `Relu` in the convolution before it; the result's name."""
    same: dict[str, str] = {}

    def real(name: str) -> str:
        return same.get(name, name)

    found: list[_Operation] = []
    for node in model.graph.node:
        target, source = node.output[0], node.input[0] if node.input else ""
        if _renames(node) and real(source) in shapes:
            same[target] = real(source)
        elif target in shapes:
            if node.op_type not in _KINDS:
                raise UnsupportedGraph(
                    f"expected {', '.join(sorted(_KINDS))}; found {node.op_type}"
                )
            many = node.op_type in ("Concat", "Add")
            sources = tuple(map(real, node.input if many else node.input[:1]))
            found.append(_Operation(kind=node.op_type, sources=sources, target=target, node=node))
        elif any(real(name) in shapes for name in node.input) and node.op_type != "Shape":
            raise UnsupportedGraph(f"{node.op_type} has no size that is known beforehand")
    result = real(model.graph.output[0].name)
    uses = Counter(name for each in found for name in each.sources)
    made = {each.target: each for each in found}
    for each in found:
        (before, *_) = each.sources
        conv = made.get(before)
        if each.kind == "Relu" and conv and conv.kind == "Conv" and uses[before] == 1:
            del made[each.target]
            made[before] = replace(conv, target=each.target, rectified=True)
    missing = {name for each in made.values() for name in each.sources} - shapes.keys()
    if missing or result == fed:
        raise UnsupportedGraph(f"sizes are not known of {', '.join(sorted(missing)) or result}")
    return list(made.values()), result


def _renames(node: NodeProto) -> bool:
    """Whether a node leaves numbers as they are."""
    to = next((item.i for item in node.attribute if item.name == "to"), None)
    return node.op_type == "Identity" or (node.op_type == "Cast" and to == TensorProto.FLOAT)


def _together(
    operations: Sequence[_Operation], shapes: Mapping[str, Shape], *, fed: str
) -> tuple[list[_Operation], dict[str, _Place]]:
    """Where layers lie so that putting them together costs nothing, or a copy where it must."""
    places: dict[str, _Place] = {}
    kept: list[_Operation] = []
    for each in operations:
        if each.kind != "Concat":
            kept.append(each)
            continue
        attributes = {item.name: helper.get_attribute_value(item) for item in each.node.attribute}
        if attributes["axis"] != 1:
            raise UnsupportedGraph(f"expected Concat of channels, found {attributes}")
        first = 0
        for number, source in enumerate(each.sources):
            name = source
            if source in places or source == fed:
                name = f"{each.target}/{number}"
                if name in shapes:
                    raise UnsupportedGraph(f"the name {name} is taken")
                kept.append(replace(each, kind="Copy", sources=(source,), target=name))
            places[name] = _Place(each.target, first)
            first += shapes[source].channels
    return kept, places


def _laid_out(
    operations: Sequence[_Operation],
    places: Mapping[str, _Place],
    shapes: Mapping[str, Shape],
    *,
    fed: str,
    result: str,
) -> dict[str, Layer]:
    """Memory for every layer, the same for those that are not needed at once."""

    def base(name: str) -> tuple[str, int]:
        first = 0
        while name in places:
            first += places[name].first
            name = places[name].base
        return name, first

    begins, ends = (
        {base(fed)[0]: -1},
        {base(result)[0]: len(operations), base(fed)[0]: len(operations)},
    )
    for index, each in enumerate(operations):
        begins.setdefault(base(each.target)[0], index)
        for name in (each.target, *each.sources):
            whole = base(name)[0]
            ends[whole] = max(ends.get(whole, index), index)
    arrays: dict[str, Floats] = {}
    free: list[Floats] = []
    for index in range(-1, len(operations)):
        for name in (name for name, begin in begins.items() if begin == index):
            numbers = int(np.prod(shapes[name]))
            fitting = [number for number, array in enumerate(free) if array.size >= numbers]
            best = min(fitting, key=lambda number: free[number].size, default=None)
            arrays[name] = np.zeros(numbers, np.float32) if best is None else free.pop(best)
        free += [arrays[name] for name, end in ends.items() if end == index]
    found = {}
    for each in operations:
        for name in (each.target, *each.sources):
            whole, first = base(name)
            source = each.sources[0] if each.kind == "Copy" else name
            pixels = arrays[whole][: int(np.prod(shapes[whole]))].reshape(shapes[whole])
            height, width, channels = shapes[name if name in shapes else source]
            if pixels.shape[:2] != (height, width) or first + channels > pixels.shape[2]:
                raise UnsupportedGraph(f"{name} does not fit into {whole}")
            found[name] = Layer(pixels, first, channels)
    return found


def _step(
    each: _Operation, layers: Mapping[str, Layer], weights: Mapping[str, TensorProto]
) -> Step:
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
            return Pooling(source=source, target=target)
        case "Resize":
            _check_resize(each.node, attributes, source, target, weights)
            return Resizing(source=source, target=target)
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
    each: _Operation,
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
