"""Convert a half-precision ONNX graph to float32.

Every float16 and bfloat16 number is a float32 number too, so the weights keep their values; what is
computed from them is rounded less often.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, numpy_helper

from worker.models.engines.onnx.graph_parts import nested_graphs, stored_tensors

HALF_TYPES: Final = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
"""The ONNX element types that are converted."""

TYPE_ATTRIBUTES: Final = frozenset(
    {
        "dtype",
        "output_datatype",
        "output_dtype",
        "precision",
        "softmax_precision",
        "stash_type",
        "to",
    }
)
"""Integer attributes that name an element type, in every operator that has one of this name."""


def convert_to_float32(model: ModelProto) -> None:
    """Convert everything that is float16 or bfloat16 to float32, in place.

    That is each weight and constant, dense or sparse; each type of an input, output or value; and
    each attribute that names a type. The same in subgraphs and functions.
    """
    for graph in nested_graphs(model.graph):
        for tensor in stored_tensors(graph):
            _convert_tensor(tensor)
        for value in (*graph.input, *graph.output, *graph.value_info):
            _convert_type(value.type)
        _convert_attributes(graph.node)


def _convert_attributes(nodes: Iterable[NodeProto]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name in TYPE_ATTRIBUTES and attribute.i in HALF_TYPES:
                attribute.i = TensorProto.FLOAT
            for declared in (attribute.tp, *attribute.type_protos):
                _convert_type(declared)


def _convert_type(declared: TypeProto) -> None:
    """Convert the element type of a tensor, also inside sequences, optionals and maps."""
    kind = declared.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        tensor_type = getattr(declared, kind)
        if tensor_type.elem_type in HALF_TYPES:
            tensor_type.elem_type = TensorProto.FLOAT
    elif kind in ("sequence_type", "optional_type"):
        _convert_type(getattr(declared, kind).elem_type)
    elif kind == "map_type":
        _convert_type(declared.map_type.value_type)


def _convert_tensor(tensor: TensorProto) -> None:
    if tensor.data_type in HALF_TYPES:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
