"""Prepare an ONNX graph: keep the one output in use, full precision for a CPU, any batch.

Every change is exact. ISNet's exports carry eleven outputs nobody reads and a batch of 1, and a CPU
without half arithmetic casts half weights at every step.
"""

import math
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    inliner,
    numpy_helper,
)

from worker.errors import ModelInvalid
from worker.models.engines.onnx.batch_axis import free_batch_axis
from worker.models.engines.onnx.output import choose

WEIGHTS: Final = "cutwork-weights"
"""Metadata of a prepared file: the type most of its weights have, for the session to read back."""

_DOMAINS: Final = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
"""Whose operators ONNX Runtime brings itself."""


def prepare(
    source: Path,
    target: Path,
    *,
    name: str | None = None,
    output: str | int | None = None,
    full_precision: bool,
) -> None:
    """Write `source` to `target` with only the output that is the map.

    `name` is the user's for it, for errors. `output`: its name or index; None finds it. In float32
    if `full_precision`; the batch axis is a symbol afterwards where the graph allows it.

    Raises `ModelInvalid` when the file is no ONNX model, is not safe to load, or has no such map.
    """
    name = name or source.name
    try:
        # External data is not followed: a model is one file, and a path in it could be any file.
        model = onnx.load(str(source), load_external_data=False)
        model = _prepared(model, output, name=name, full_precision=full_precision)
    except (ModelInvalid, OSError, MemoryError):
        raise
    except Exception as error:  # Damaged bytes end in nearly any error: Decode, Value, Key, …
        raise ModelInvalid(f"{name} is no ONNX model: {error}") from error
    onnx.save(model, str(target))


def _prepared(
    model: ModelProto, output: str | int | None, *, name: str, full_precision: bool
) -> ModelProto:
    if not model.graph.output:
        raise ModelInvalid(f"{name} is no ONNX model with an output")
    if model.functions:
        model = inliner.inline_local_functions(model)
    if any(tensor.external_data for tensor in _tensors(model.graph)):
        raise ModelInvalid(f"{name} keeps weights in other files; export it as one file")
    custom = sorted({domain for domain in _domains(model.graph) if domain not in _DOMAINS})
    if custom:
        raise ModelInvalid(
            f"{name} needs operators from a library of its own ({', '.join(custom)}), and "
            "such libraries are never loaded; export it with standard ONNX operators alone"
        )
    keep_output(model, choose(model, output, name=name))
    if full_precision:
        to_full_precision(model)
    free_batch_axis(model)
    helper.set_model_props(model, {WEIGHTS: _weights_type(model)})
    return model


def keep_output(model: ModelProto, output: str) -> None:
    """Cut every node, weight and output away that this output does not need."""
    graph = model.graph
    kept = next(value for value in graph.output if value.name == output)
    graph.output[0].CopyFrom(kept)
    del graph.output[1:]
    made_by = {name: index for index, node in enumerate(graph.node) for name in node.output}
    reads = [_reads(node) for node in graph.node]
    needed: dict[int, list[int]] = {}
    pending = [made_by[graph.output[0].name]] if graph.output[0].name in made_by else []
    while pending:
        index = pending.pop()
        if index not in needed:
            needed[index] = [made_by[name] for name in reads[index] if name in made_by]
            pending.extend(needed[index])
    try:
        order = list(TopologicalSorter(needed).static_order())
    except CycleError as error:
        raise ModelInvalid("the ONNX graph runs in a circle") from error
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


def to_full_precision(model: ModelProto) -> None:
    """Turn every half weight, constant, cast, input and output into float32."""
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        for tensor in graph.initializer:
            _widen(tensor)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == AttributeProto.TENSOR:
                    _widen(attribute.t)
                elif attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT16:
                    attribute.i = TensorProto.FLOAT
                elif attribute.type == AttributeProto.GRAPH:
                    pending.append(attribute.g)
        for value in (*graph.input, *graph.output):
            if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        del graph.value_info[:]


def _weights_type(model: ModelProto) -> str:
    elements: Counter[int] = Counter()
    for tensor in model.graph.initializer:
        elements[tensor.data_type] += math.prod(tensor.dims)
    if not elements:
        return "none"
    return helper.tensor_dtype_to_np_dtype(elements.most_common(1)[0][0]).name


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT16:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor stored in a graph: weights, constants, and those of its subgraphs."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _domains(graph: GraphProto) -> Iterator[str]:
    """The domain of every operator, those of subgraphs included."""
    for node in graph.node:
        yield node.domain
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _domains(inner)


def _reads(node: NodeProto) -> list[str]:
    """What a node reads, the free names of its subgraphs included."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            for inner in graph.node:
                names.extend(_reads(inner))
    return names
