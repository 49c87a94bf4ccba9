"""ONNX files that are refused before anything is computed from them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from tests.support.hostile import onnx_graphs
from tests.support.hostile.onnx_graphs import doubling_functions, function, model, node
from tests.support.tiny_models import channel_mean, loaded
from worker.errors import ModelInvalid
from worker.models.engines.onnx.limits import MAX_NAME, MAX_NODES, check_limits
from worker.models.files.profile import Profile, input_size

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
    "nodes": "found 100,002 nodes",
    "empty-nodes": "2,000,000 nodes, attributes",
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
    small = function("small", *[node("Identity", "a", "b")] * (MAX_NODES // 300))
    large = function("large", *[node("small", "a", "b", "own")] * 100)
    calls = [node("large", "mean", f"y{number}", "own") for number in range(3)]
    check_limits(model(*calls[:2], functions=[small, large], output="y0"), name="own")
    with pytest.raises(ModelInvalid, match="found 100,2"):
        check_limits(model(*calls, functions=[small, large], output="y0"), name="own")


def test_an_input_or_output_of_absurd_size_is_refused(tmp_path: Path) -> None:
    huge = channel_mean(tmp_path / "input.onnx", axes=(1, 3, 5000, 32))
    with pytest.raises(ModelInvalid, match="at most 4,096 pixels a side, found 32×5000"):
        input_size(Profile(), fixed=loaded(huge).input_size, model="own")
    sizes = numpy_helper.from_array(np.array([1, 1, 2**15, 2**15]), "sizes")
    resize = helper.make_node("Resize", ["mean", "", "", "sizes"], ["y"])
    path = tmp_path / "output.onnx"
    onnx.save(model(resize, weights=[sizes], axes=(1, 1, 2**15, 2**15)), path)
    with pytest.raises(ModelInvalid, match="output of at most 268,435,456 numbers"):
        loaded(path)


def test_an_engine_s_memory_counts_nodes_and_branches(tmp_path: Path) -> None:
    """A model cache that counts only weights would hold any number of large graphs."""
    chain = [node("Sin", f"v{n}", f"v{n + 1}") for n in range(500)]
    graphs = {
        "few": onnx_graphs.nested_branches(1),
        "branches": onnx_graphs.nested_branches(6),
        "many": model(node("Sin", "mean", "v0"), *chain, output="v500"),
    }
    sizes = {}
    for name, graph in graphs.items():
        onnx.save(graph, str(tmp_path / f"{name}.onnx"))
        sizes[name] = loaded(tmp_path / f"{name}.onnx").bytes
    assert sizes["branches"] - sizes["few"] > 62 * 16_000
    assert sizes["many"] - sizes["few"] > 500 * 4_000
