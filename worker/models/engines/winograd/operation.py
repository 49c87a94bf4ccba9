"""The operations of an ONNX graph on layers, and the layers' sizes for one image."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from onnx import ModelProto, NodeProto, TensorProto

from worker.models.engines.onnx.batch_axis import infer_one_image
from worker.models.engines.onnx.output import shape_of

_SUPPORTED: Final = {"Add", "Concat", "Conv", "MaxPool", "Relu", "Resize", "Sigmoid"}


class UnsupportedGraph(Exception):
    """The graph contains something that this engine does not implement; the message says what."""


class Shape(NamedTuple):
    """The shape of a layer, for one image."""

    height: int
    width: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A node, or a convolution with its ReLU."""

    kind: str
    """The ONNX operator, or `Copy`."""
    sources: tuple[str, ...]
    target: str
    node: NodeProto
    has_relu: bool = False


def infer_shapes(model: ModelProto, input_name: str) -> dict[str, Shape]:
    """Return the shapes of all float32 values with four axes, for a batch of 1."""
    if any(item.domain in ("", "ai.onnx") and item.version < 11 for item in model.opset_import):
        raise UnsupportedGraph("expected operators of version 11 or later, which changed Resize")
    inferred = infer_one_image(model, input_name)
    shapes = {}
    # All other inputs are weights.
    images = [value for value in inferred.input if value.name == input_name]
    for value in (*images, *inferred.value_info, *inferred.output):
        axes = shape_of(value) or ()
        sides = [axis for axis in axes if isinstance(axis, int)]
        is_float = value.type.tensor_type.elem_type == TensorProto.FLOAT
        if is_float and len(axes) == len(sides) == 4 and sides[0] == 1:
            _, channels, height, width = sides
            shapes[value.name] = Shape(height, width, channels)
    return shapes


def read_operations(
    model: ModelProto, shapes: Mapping[str, Shape], input_name: str
) -> tuple[list[Operation], str]:
    """Return the operations on layers, each ReLU fused with its convolution; and the output's name.

    Raises `UnsupportedGraph` where an operator is not supported or a size is unknown.
    """
    aliases: dict[str, str] = {}

    def resolve(name: str) -> str:
        return aliases.get(name, name)

    operations: list[Operation] = []
    for node in model.graph.node:
        target, source = node.output[0], node.input[0] if node.input else ""
        if _is_identity(node) and resolve(source) in shapes:
            aliases[target] = resolve(source)
        elif target in shapes:
            if node.op_type not in _SUPPORTED:
                raise UnsupportedGraph(
                    f"expected {', '.join(sorted(_SUPPORTED))}; found {node.op_type}"
                )
            has_many = node.op_type in ("Concat", "Add")
            sources = tuple(map(resolve, node.input if has_many else node.input[:1]))
            operations.append(
                Operation(kind=node.op_type, sources=sources, target=target, node=node)
            )
        elif any(resolve(name) in shapes for name in node.input) and node.op_type != "Shape":
            raise UnsupportedGraph(f"the size of the result of {node.op_type} is unknown")
    output_name = resolve(model.graph.output[0].name)
    uses = Counter(name for operation in operations for name in operation.sources)
    fused = {operation.target: operation for operation in operations}
    for operation in operations:
        (source, *_) = operation.sources
        conv = fused.get(source)
        if operation.kind == "Relu" and conv and conv.kind == "Conv" and uses[source] == 1:
            del fused[operation.target]
            fused[source] = replace(conv, target=operation.target, has_relu=True)
    missing = {name for operation in fused.values() for name in operation.sources} - shapes.keys()
    if missing or output_name == input_name:
        names = ", ".join(sorted(missing)) or output_name
        raise UnsupportedGraph(f"the sizes of {names} are unknown")
    return list(fused.values()), output_name


def _is_identity(node: NodeProto) -> bool:
    """Return whether a node only renames its input."""
    to = next((item.i for item in node.attribute if item.name == "to"), None)
    return node.op_type == "Identity" or (node.op_type == "Cast" and to == TensorProto.FLOAT)
