"""The type of a graph's weights, recorded in the prepared file."""

import math
from collections import Counter
from typing import Final

from onnx import ModelProto, helper

WEIGHT_TYPE_KEY: Final = "cutwork-weights"
"""Metadata key of a prepared file: the type of most of its weights, which the engine reads back."""


def record_weight_type(model: ModelProto) -> None:
    """Write the NumPy name of the type of most weights, or `none`, into the model's metadata."""
    helper.set_model_props(model, {WEIGHT_TYPE_KEY: _main_weight_type(model)})


def _main_weight_type(model: ModelProto) -> str:
    elements: Counter[int] = Counter()
    known = helper.get_all_tensor_dtypes()
    for tensor in model.graph.initializer:
        if tensor.data_type in known:
            elements[tensor.data_type] += math.prod(tensor.dims)
    if not elements:
        return "none"
    return helper.tensor_dtype_to_np_dtype(elements.most_common(1)[0][0]).name
