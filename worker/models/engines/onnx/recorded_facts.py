"""Facts of a graph that are recorded in the metadata of the prepared file, and read at its load."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Final

from onnx import ModelProto, helper

from worker.models.engines.onnx.graph_parts import nested_graphs

WEIGHT_TYPE_KEY: Final = "cutwork-weights"
"""The NumPy name of the type of most weights; `none` without weights."""
_STRUCTURE_KEY: Final = "cutwork-structure-bytes"

_NODE_BYTES: Final = 4096
_SUBGRAPH_BYTES: Final = 16_384
"""What ONNX Runtime 1.31 keeps for a node, and for a branch or a loop's body: measured as 3.8 kB of
100,000 nodes, and 16 kB of 8,000 branches."""


def record_facts(model: ModelProto) -> None:
    """Write the type of most weights and the memory of nodes into the model's metadata."""
    facts = {
        WEIGHT_TYPE_KEY: _main_weight_type(model),
        _STRUCTURE_KEY: str(_structure_bytes(model)),
    }
    helper.set_model_props(model, facts)


def read_structure_bytes(metadata: Mapping[str, str]) -> int:
    """Return the bytes that a loaded graph takes beside its weights."""
    return int(metadata[_STRUCTURE_KEY])


def _structure_bytes(model: ModelProto) -> int:
    graphs = list(nested_graphs(model.graph))
    nodes = sum(len(graph.node) for graph in graphs)
    return _NODE_BYTES * nodes + _SUBGRAPH_BYTES * (len(graphs) - 1)


def _main_weight_type(model: ModelProto) -> str:
    elements: Counter[int] = Counter()
    known = helper.get_all_tensor_dtypes()
    for tensor in model.graph.initializer:
        if tensor.data_type in known:
            elements[tensor.data_type] += math.prod(tensor.dims)
    if not elements:
        return "none"
    return helper.tensor_dtype_to_np_dtype(elements.most_common(1)[0][0]).name
