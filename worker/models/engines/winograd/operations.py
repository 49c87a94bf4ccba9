"""What a graph does with layers, and how large they are for one image."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import onnx
from onnx import ModelProto, NodeProto, TensorProto

from worker.models.engines.onnx.batch_axis import followed, skeleton
from worker.models.engines.onnx.output import shape
from worker.models.engines.winograd.unsupported import UnsupportedGraph

_KINDS: Final = {"Add", "Concat", "Conv", "MaxPool", "Relu", "Resize", "Sigmoid"}


class Shape(NamedTuple):
    """Of a layer, of one image."""

    height: int
    width: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A node, or those that are done at once."""

    kind: str
    sources: tuple[str, ...]
    target: str
    node: NodeProto
    rectified: bool = False
    """Whether a `Relu` follows."""


def shapes_of(model: ModelProto, fed: str) -> dict[str, Shape]:
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


def operations_of(
    model: ModelProto, shapes: Mapping[str, Shape], fed: str
) -> tuple[list[Operation], str]:
    """What is done with layers, with `Relu` in the convolution before it; the result's name."""
    same: dict[str, str] = {}

    def real(name: str) -> str:
        return same.get(name, name)

    found: list[Operation] = []
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
            found.append(Operation(kind=node.op_type, sources=sources, target=target, node=node))
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
