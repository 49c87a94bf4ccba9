"""Free the batch axis of a graph exported for one image, where that provably changes no result.

Exporters write the batch of their example, 1, into the file. The graph works for any batch when
every node treats each image separately, and the batch reaches the output as its first axis.
"""

import math
from copy import deepcopy
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, ValueInfoProto, helper, numpy_helper

from worker.models.engines.onnx.output import FLOATS, Axis, shape_of

BATCH: Final = "cutwork_batch"
"""The symbolic dimension of a batch axis that was freed here."""

_PER_IMAGE_OPERATORS: Final = frozenset(
    """Abs Add AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv
    ConvTranspose DepthToSpace Div Elu Equal Erf Exp Expand Floor Gather Gelu GlobalAveragePool
    GlobalMaxPool HardSigmoid HardSwish Identity InstanceNormalization LeakyRelu Log Max MaxPool
    Min Mish Mul Neg PRelu Pad Pow Reciprocal Relu Resize Round Selu Shape Sigmoid Slice Softplus
    SpaceToDepth Split Sqrt Squeeze Sub Tanh Unsqueeze Upsample Where""".split()  # noqa: SIM905 - a list of 60 strings reads worse
)
"""Operators that do not mix the images of a batch while the batch is the first axis, except in the
cases that `_mixes_images` finds. Others may mix them: a maximum over all axes, or
`DynamicQuantizeLinear`, which computes one scale for the whole batch."""

_SELECTION_OPERATORS: Final = ("Gather", "Slice", "Split", "Squeeze", "Unsqueeze")
"""Operators that select parts along an axis, which may be the batch's."""

_MAX_SHAPE_ELEMENTS: Final = 64
"""Elements up to which an initializer may be a shape rather than a weight."""

_OPSET: Final = 13
"""The oldest operator set whose shape inference follows every step of a computed size."""


def free_batch_axis(model: ModelProto) -> None:
    """Make the batch axis of a graph with one input and one output symbolic, in place.

    Leave the graph unchanged unless shape inference proves that the output has the same batch axis.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or (shape_of(inputs[0]) or (None,))[0] != 1:
        return
    if not {node.op_type for node in graph.node} <= _PER_IMAGE_OPERATORS:
        return
    stripped = _strip_weights(model)
    try:
        if _mixes_images(stripped):
            return
        _replace_sizes_by_scales(stripped)
        output = _output_shape(stripped, inputs[0].name)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return  # The graph depends on a batch of 1, or its shapes cannot be inferred.
    if not output or output[0] != BATCH:
        return
    inputs[0].type.tensor_type.shape.dim[0].dim_param = BATCH
    element = graph.output[0].type.tensor_type.elem_type
    graph.output[0].CopyFrom(helper.make_tensor_value_info(graph.output[0].name, element, output))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(stripped.graph.node)
    graph.initializer.extend(
        tensor for tensor in stripped.graph.initializer if tensor.name not in weights
    )


def _mixes_images(model: ModelProto) -> bool:
    """Return whether an operator may carry data from one image of a batch into another.

    A selection along the batch axis can, and so can the batch's length when it is cast to a float
    and used with pixels. Operators on shapes, which are integers, may do as they like.
    """
    values = _infer_values(model)
    pixels = {value.name for value in values if value.type.tensor_type.elem_type in FLOATS}
    for node in model.graph.node:
        integers = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "BatchNormalization" and integers.get("training_mode"):
            return True
        if node.op_type == "Cast" and integers["to"] in FLOATS and node.input[0] not in pixels:
            return True
        if node.op_type in _SELECTION_OPERATORS and node.input[0] in pixels:
            return True
        if node.op_type == "Concat" and node.input[0] in pixels and integers["axis"] == 0:
            return True
    return False


def _strip_weights(model: ModelProto) -> ModelProto:
    """Return a small copy of a graph for shape inference, with its weights as inputs."""
    graph = GraphProto(name=model.graph.name)
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    declared = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _MAX_SHAPE_ELEMENTS:
            graph.initializer.append(tensor)
        elif tensor.name not in declared:
            graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=max(model.ir_version, 4)
    )


def _replace_sizes_by_scales(model: ModelProto) -> None:
    """Express each `Resize` to a constant size, which includes the batch, by scales instead.

    This is exact: runtimes compute the scales as the float32 quotients of the sizes.
    """
    graph = model.graph
    constants = _constants(graph)
    shapes = _infer_shapes(model)
    for index, node in enumerate(graph.node):
        if node.op_type != "Resize" or len(node.input) != 4 or node.input[3] not in constants:
            continue
        before, after = _static_shape(shapes, node.input[0]), constants[node.input[3]]
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
    """Return the output's shape when the batch of the input `name` is symbolic.

    Shape inference loses symbols at `Resize`. In a copy of the graph, each is replaced by an
    operator with the same shape that propagates them; the values do not matter.
    """
    shapes = _infer_shapes(model)
    constants = _constants(model.graph)
    probe = _upgrade_opset(deepcopy(model))
    graph = probe.graph
    del graph.value_info[:]
    for value in graph.input:
        if value.name == name:
            value.type.tensor_type.shape.dim[0].dim_param = BATCH
    graph.output[0].type.tensor_type.ClearField("shape")
    for node in graph.node:
        if node.op_type == "Resize" and len(node.input) == 4:
            node.CopyFrom(helper.make_node("ConstantOfShape", [node.input[3]], node.output))
        elif node.op_type == "Resize":
            before = _static_shape(shapes, node.input[0])
            after = _static_shape(shapes, node.output[0])
            scales = constants.get(node.input[2])
            if before is None or after is None or scales is None or scales[0] != 1:
                return None
            pads = np.zeros(2 * len(before), np.int64)
            pads[len(before) + 1 :] = (after - before)[1:]
            pads_name = f"{node.output[0]}_pads"
            graph.initializer.append(numpy_helper.from_array(pads, pads_name))
            node.CopyFrom(helper.make_node("Pad", [node.input[0], pads_name], node.output))
    return _infer_shapes(probe).get(graph.output[0].name)


def _static_shape(shapes: dict[str, tuple[Axis, ...]], name: str) -> NDArray[np.int64] | None:
    """Return the shape of a value if every axis is a number."""
    sides = [axis for axis in shapes.get(name, ()) if isinstance(axis, int)]
    return np.asarray(sides) if sides and len(sides) == len(shapes[name]) else None


def infer_one_image(model: ModelProto, input_name: str) -> GraphProto:
    """Return a prepared graph with the shapes of all values for a batch of 1, without its weights.

    Raises `ValueError` for a larger fixed batch, and what shape inference raises.
    """
    stripped = _upgrade_opset(_strip_weights(model))
    for value in stripped.graph.input:
        if value.name == input_name:
            batch = (shape_of(value) or (None,))[0]
            if isinstance(batch, int) and batch != 1:
                raise ValueError(f"expected a graph for any number of images, found {batch}")
            value.type.tensor_type.shape.dim[0].dim_value = 1
    del stripped.graph.value_info[:]
    stripped.graph.output[0].type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(stripped, strict_mode=True, data_prop=True).graph


def _upgrade_opset(model: ModelProto) -> ModelProto:
    """Return a graph in an operator set whose shape inference follows every step of a size.

    Raises `ValueError` for an invalid graph, and `RuntimeError` for an operator without equivalent.
    """
    if any(item.domain in ("", "ai.onnx") and item.version < _OPSET for item in model.opset_import):
        try:
            return onnx.version_converter.convert_version(model, _OPSET)
        except onnx.version_converter.ConvertError as error:
            raise ValueError(str(error)) from error
    return model


def _constants(graph: GraphProto) -> dict[str, NDArray[Any]]:
    """Return the small constant tensors of a graph, by name."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.type == onnx.AttributeProto.TENSOR:
                constants[node.output[0]] = numpy_helper.to_array(attribute.t)
    return {name: array for name, array in constants.items() if array.size}


def _infer_shapes(model: ModelProto) -> dict[str, tuple[Axis, ...]]:
    return {value.name: axes for value in _infer_values(model) if (axes := shape_of(value))}


def _infer_values(model: ModelProto) -> list[ValueInfoProto]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    return [*inferred.input, *inferred.value_info, *inferred.output]
