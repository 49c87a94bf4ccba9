"""Let a graph that was exported for one image take any number, where that provably changes nothing.

Exporters write the batch of their example, 1, into the file. The graph can do more when every
node treats each image by itself, and when the batch reaches the output as it entered.
"""

import math
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from worker.models.engines.onnx.output import FLOATS, Axis, shape

BATCH: Final = "cutwork_batch"
"""The symbol of a batch axis that was freed here."""

_PER_IMAGE: Final = frozenset(
    """Abs Add AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv
    ConvTranspose DepthToSpace Div Elu Equal Erf Exp Expand Floor Gather Gelu GlobalAveragePool
    GlobalMaxPool HardSigmoid HardSwish Identity InstanceNormalization LeakyRelu Log Max MaxPool
    Min Mish Mul Neg PRelu Pad Pow Reciprocal Relu Resize Round Selu Shape Sigmoid Slice Softplus
    SpaceToDepth Split Sqrt Squeeze Sub Tanh Unsqueeze Upsample Where""".split()  # noqa: SIM905 - a list of 60 words reads worse
)
"""Operators that do not mix the images of a batch while its axis stays the first, but for what
`_mixes` finds. Others may: a maximum over all axes, or `DynamicQuantizeLinear`, which takes one
scale for the whole batch."""

_PICKING: Final = ("Gather", "Slice", "Split", "Squeeze", "Unsqueeze")
"""Operators that choose parts along an axis, which may be the batch's."""

_SMALL: Final = 64
"""Elements up to which an initializer may be a shape and not a weight."""

_OPSET: Final = 13
"""The oldest version of ONNX whose shape inference follows every step of a computed size."""


def free_batch_axis(model: ModelProto) -> None:
    """Make the batch axis of a graph with one input and one output symbolic, in place.

    Nothing happens where shape inference cannot show that the batch comes out as it went in.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or (shape(inputs[0]) or (None,))[0] != 1:
        return
    if not {node.op_type for node in graph.node} <= _PER_IMAGE:
        return
    bare = skeleton(model)
    try:
        if _mixes(bare):
            return
        _sizes_to_scales(bare)
        output = _output_shape(bare, inputs[0].name)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return  # The graph counts on a batch of 1, or cannot be followed.
    if not output or output[0] != BATCH:
        return
    inputs[0].type.tensor_type.shape.dim[0].dim_param = BATCH
    element = graph.output[0].type.tensor_type.elem_type
    graph.output[0].CopyFrom(helper.make_tensor_value_info(graph.output[0].name, element, output))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(bare.graph.node)
    graph.initializer.extend(
        tensor for tensor in bare.graph.initializer if tensor.name not in weights
    )


def _mixes(model: ModelProto) -> bool:
    """Whether one of the operators may carry something from one image into another after all.

    Picking along the batch axis can, and so can the batch's own length once it is a number among
    the pixels. What only works on shapes, integers all of them, is free to.
    """
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    pixels = {value.name for value in values if value.type.tensor_type.elem_type in FLOATS}
    for node in model.graph.node:
        numbers = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "BatchNormalization" and numbers.get("training_mode"):
            return True
        if node.op_type == "Cast" and numbers["to"] in FLOATS and node.input[0] not in pixels:
            return True
        if node.op_type in _PICKING and node.input[0] in pixels:
            return True
        if node.op_type == "Concat" and node.input[0] in pixels and numbers["axis"] == 0:
            return True
    return False


def skeleton(model: ModelProto) -> ModelProto:
    """The graph with its weights as inputs: all that shape inference needs, and little else."""
    graph = GraphProto(name=model.graph.name)
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    declared = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SMALL:
            graph.initializer.append(tensor)
        elif tensor.name not in declared:
            graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=max(model.ir_version, 4)
    )


def _sizes_to_scales(model: ModelProto) -> None:
    """Write `Resize` to a constant size, batch included, as a scale.

    Exact: what a scale is to a runtime is the quotient of the sizes, in float32.
    """
    graph = model.graph
    constants = _constants(graph)
    shapes = _shapes(model)
    for index, node in enumerate(graph.node):
        if node.op_type != "Resize" or len(node.input) != 4 or node.input[3] not in constants:
            continue
        before, after = _known(shapes, node.input[0]), constants[node.input[3]]
        if before is None:
            continue
        scales = after.astype(np.float32) / before.astype(np.float32)
        if not np.array_equal(np.floor(before.astype(np.float32) * scales), after):
            continue
        name = f"cutwork_scales_{index}"
        graph.initializer.append(numpy_helper.from_array(scales, name))
        node.input[2] = name
        del node.input[3:]


def _output_shape(model: ModelProto, name: str) -> tuple[Axis, ...] | None:
    """The shape of the output if the batch of the input `name` were a symbol.

    Shape inference loses a symbol at `Resize`. Here each is stood in for by an operator that has
    the same shape and hands symbols on; the stand-ins are for their shapes alone.
    """
    fixed = _shapes(model)
    constants = _constants(model.graph)
    probe = ModelProto()
    probe.CopyFrom(model)
    probe = followed(probe)
    graph = probe.graph
    del graph.value_info[:]
    for value in graph.input:
        if value.name == name:
            value.type.tensor_type.shape.dim[0].dim_param = BATCH
    graph.output[0].type.tensor_type.ClearField("shape")
    for node in graph.node:
        if node.op_type == "Resize" and len(node.input) == 4:
            _stand_in(node, "ConstantOfShape", [node.input[3]])
        elif node.op_type == "Resize":
            before, after = _known(fixed, node.input[0]), _known(fixed, node.output[0])
            scales = constants.get(node.input[2])
            if before is None or after is None or scales is None or scales[0] != 1:
                return None
            pads = np.zeros(2 * len(before), np.int64)
            pads[len(before) + 1 :] = (after - before)[1:]
            graph.initializer.append(numpy_helper.from_array(pads, f"{node.output[0]}_pads"))
            _stand_in(node, "Pad", [node.input[0], f"{node.output[0]}_pads"])
    return _shapes(probe).get(graph.output[0].name)


def _known(shapes: dict[str, tuple[Axis, ...]], name: str) -> NDArray[np.int64] | None:
    """The shape of a value if every axis is a number."""
    sides = [axis for axis in shapes.get(name, ()) if isinstance(axis, int)]
    return np.asarray(sides) if sides and len(sides) == len(shapes[name]) else None


def followed(model: ModelProto) -> ModelProto:
    """A skeleton in a version of ONNX whose shape inference follows every step of a size."""
    if any(item.domain in ("", "ai.onnx") and item.version < _OPSET for item in model.opset_import):
        return onnx.version_converter.convert_version(model, _OPSET)
    return model


def _stand_in(node: NodeProto, operator: str, inputs: list[str]) -> None:
    node.CopyFrom(helper.make_node(operator, inputs, list(node.output)))


def _constants(graph: GraphProto) -> dict[str, NDArray[Any]]:
    """The small tensors that a graph holds, by name."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.type == onnx.AttributeProto.TENSOR:
                found[node.output[0]] = numpy_helper.to_array(attribute.t)
    return {name: array for name, array in found.items() if array.size}


def _shapes(model: ModelProto) -> dict[str, tuple[Axis, ...]]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    found = {
        value.name: shape(value)
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    return {name: axes for name, axes in found.items() if axes is not None}
