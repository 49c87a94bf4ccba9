"""ONNX files that are refused before anything is computed from them."""

import pytest
from onnx import ModelProto

from tests.support.hostile import onnx_graphs
from tests.support.hostile.onnx_graphs import doubling_functions, function, model, node
from worker.errors import ModelInvalid
from worker.models.engines.onnx.limits import MAX_NAME, MAX_NODES, check_limits

REASONS = {
    "functions": "100,000 nodes",
    "function-itself": "a function that calls itself",
    "functions-circle": "a function that calls itself",
    "functions-deep": "levels deep",
    "outside": "other files",
    "name": "4,096 characters",
    "operator": "op_type of 1,048,576",
    "domain": "domain of 1,048,576",
    "axis": "dim_param of 1,048,576",
    "nodes": "found 120,002 nodes",
}
"""The reason for the refusal, by the beginning of the file's name; the longest one counts."""


def test_hostile_files_are_refused_with_the_reason() -> None:
    refused = 0
    for file in onnx_graphs.attacks():
        name = file.name.removeprefix("onnx/").removesuffix(".onnx")
        beginnings = [beginning for beginning in REASONS if name.startswith(beginning)]
        if not beginnings:
            continue
        with pytest.raises(ModelInvalid, match=REASONS[max(beginnings, key=len)]) as error:
            check_limits(ModelProto.FromString(file.data), name="own")
        assert len(str(error.value)) < 500
        refused += 1
    assert refused > 20


def test_a_file_at_the_limits_is_accepted() -> None:
    check_limits(doubling_functions(14), name="own")
    long = "m" * MAX_NAME
    check_limits(model(node("Identity", "mean", long), output=long), name="own")
    described = model(node("Identity", "mean", "y"))
    described.graph.doc_string = "d" * 2 * MAX_NAME
    described.metadata_props.add(key="labels", value="v" * 2 * MAX_NAME)
    check_limits(described, name="own")


def test_functions_count_once_for_every_call() -> None:
    body = [node("Identity", "a", "b")] * (MAX_NODES // 3)
    large = function("large", *body)
    calls = [node("large", "mean", f"y{number}", "own") for number in range(3)]
    check_limits(model(*calls[:2], functions=[large], output="y0"), name="own")
    with pytest.raises(ModelInvalid, match="found 100,0"):
        check_limits(model(*calls, functions=[large], output="y0"), name="own")
