"""Prepare an ONNX graph: prune unused outputs, convert to float32 for a CPU, free the batch axis.

Every change is exact. ISNet's exports have eleven outputs that are never read and a batch of 1, and
a CPU without float16 arithmetic converts float16 weights at every step.
"""

import math
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, inliner, numpy_helper

from worker.errors import ModelInvalid
from worker.models.engines.onnx.batch_axis import free_batch_axis
from worker.models.engines.onnx.graph_parts import input_names, nested_graphs, stored_tensors
from worker.models.engines.onnx.output import choose_output

WEIGHT_TYPE_KEY: Final = "cutwork-weights"
"""Metadata key of a prepared file: the type of most of its weights, which the engine reads back."""

_DOMAINS: Final = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
"""Operator domains that ONNX Runtime implements."""


def prepare(
    source: Path,
    target: Path,
    *,
    full_precision: bool,
    name: str = "",
    output: str | int | None = None,
) -> None:
    """Write the prepared graph of `source` to `target`, with only the saliency map as output.

    `name` is the user's name for the model, for errors. `output` is the map's name or index; None:
    see `choose_output`. With `full_precision`, the graph is converted to float32.

    Raises `ModelInvalid` when the file is not an ONNX model, not safe to load, or has no such map.
    """
    name = name or source.name
    try:
        # External data is not loaded: a model is one file, and a path in it could name any file.
        model = onnx.load(str(source), load_external_data=False)
        model = _prepare_model(model, output, name=name, full_precision=full_precision)
    except (ModelInvalid, OSError, MemoryError):
        raise
    except Exception as error:  # Damaged bytes cause nearly any error: Decode, Value, Key, …
        raise ModelInvalid(f"{name} is not an ONNX model: {error}") from error
    onnx.save(model, str(target))


def _prepare_model(
    model: ModelProto, output: str | int | None, *, name: str, full_precision: bool
) -> ModelProto:
    if not model.graph.output:
        raise ModelInvalid(f"{name} is not an ONNX model with an output")
    if model.functions:
        model = inliner.inline_local_functions(model)
    graphs = list(nested_graphs(model.graph))
    if any(tensor.external_data for graph in graphs for tensor in stored_tensors(graph)):
        raise ModelInvalid(f"{name} keeps weights in other files; export it as one file")
    custom = sorted({node.domain for graph in graphs for node in graph.node} - _DOMAINS)
    if custom:
        raise ModelInvalid(
            f"{name} needs operators from a custom library ({', '.join(custom)}), and such "
            "libraries are never loaded; export it with standard ONNX operators only"
        )
    prune_to_output(model, choose_output(model, output, name=name))
    if full_precision:
        convert_to_float32(model)
    free_batch_axis(model)
    helper.set_model_props(model, {WEIGHT_TYPE_KEY: _main_weight_type(model)})
    return model


def prune_to_output(model: ModelProto, output: str) -> None:
    """Remove every node, weight and output that this output does not depend on."""
    graph = model.graph
    kept = next(value for value in graph.output if value.name == output)
    graph.output[0].CopyFrom(kept)
    del graph.output[1:]
    producers = {name: index for index, node in enumerate(graph.node) for name in node.output}
    reads = [input_names(node) for node in graph.node]
    needed: dict[int, list[int]] = {}
    pending = [producers[graph.output[0].name]] if graph.output[0].name in producers else []
    while pending:
        index = pending.pop()
        if index not in needed:
            needed[index] = [producers[name] for name in reads[index] if name in producers]
            pending.extend(needed[index])
    try:
        order = list(TopologicalSorter(needed).static_order())
    except CycleError as error:
        raise ModelInvalid("expected an ONNX graph without cycles, found one") from error
    nodes = [NodeProto.FromString(graph.node[index].SerializeToString()) for index in order]
    used = {name for index in order for name in reads[index]} | {graph.output[0].name}
    weights = [
        TensorProto.FromString(tensor.SerializeToString())
        for tensor in graph.initializer
        if tensor.name in used
    ]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)


def convert_to_float32(model: ModelProto) -> None:
    """Convert every float16 weight, constant, cast, input and output to float32."""
    for graph in nested_graphs(model.graph):
        for tensor in graph.initializer:
            _convert_tensor(tensor)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    _convert_tensor(attribute.t)
                elif attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT16:
                    attribute.i = TensorProto.FLOAT
        for value in (*graph.input, *graph.output):
            if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        del graph.value_info[:]


def _main_weight_type(model: ModelProto) -> str:
    elements: Counter[int] = Counter()
    for tensor in model.graph.initializer:
        elements[tensor.data_type] += math.prod(tensor.dims)
    if not elements:
        return "none"
    return helper.tensor_dtype_to_np_dtype(elements.most_common(1)[0][0]).name


def _convert_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT16:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
