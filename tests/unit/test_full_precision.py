"""A half-precision graph gives the same map in float32, whichever operators name its type."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import SparseTensorProto, TensorProto, helper
from onnx.defs import OpSchema
from onnxruntime.capi import onnxruntime_pybind11_state

from tests.support.half_models import BIT_CAST, CASES
from worker.models.engines.onnx.full_precision import TYPE_ATTRIBUTES, convert_to_float32
from worker.models.engines.onnx.graph import prepare

OPSETS = (17, 19, 21, 23, 25)
MENTIONS_A_TYPE = re.compile("data ?_?type|TensorProto|element type|stash|precision", re.IGNORECASE)
# Its description speaks of the precision of another attribute.
NOT_A_TYPE = {"qk_matmul_output_mode"}
# The products with these weights and all sums are exact in every type.
IMAGE = (np.random.default_rng(0).integers(0, 9, (1, 3, 8, 8)) / 8).astype(np.float32)


def run(model: onnx.ModelProto) -> NDArray[np.float32] | None:
    """Return the map of a model, or None where ONNX Runtime has no such operator on a CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,
        )
    except (onnxruntime_pybind11_state.NotImplemented, onnxruntime_pybind11_state.InvalidGraph):
        return None
    return np.asarray(session.run(None, {"x": IMAGE})[0], np.float32)


def prepared(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    onnx.save(model, folder / "own.onnx")
    prepare(folder / "own.onnx", folder / "prepared.onnx", full_precision=True)
    return onnx.load(folder / "prepared.onnx")


@pytest.mark.parametrize("name", CASES)
def test_the_map_stays_the_same_in_every_operator_set(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    compared = 0
    for opset in OPSETS:
        if opset < case.first:
            continue
        half = case.model(TensorProto.FLOAT16, opset)
        full = run(case.model(TensorProto.FLOAT, opset))
        unprepared = run(half)
        if full is None:
            # ONNX Runtime has not implemented every operator of its newest sets.
            assert unprepared is None
            continue
        model = prepared(half, tmp_path)
        assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
        result = run(model)
        assert result is not None
        np.testing.assert_allclose(result, full, atol=1e-6)
        if unprepared is not None:
            np.testing.assert_allclose(result, unprepared, atol=2e-3)
        compared += 1
    assert compared >= 1


@pytest.mark.parametrize("name", CASES)
def test_bfloat16_too(name: str, tmp_path: Path) -> None:
    """ONNX Runtime itself runs few operators in bfloat16 on a CPU."""
    case = CASES[name]
    opset = max(case.first, 20)
    full = run(case.model(TensorProto.FLOAT, opset))
    result = run(prepared(case.model(TensorProto.BFLOAT16, opset), tmp_path))
    assert full is not None
    assert result is not None
    # 1/128 and the like are exact in all types; the constants of the windows are not.
    np.testing.assert_allclose(result, full, atol=4e-3)


def test_what_float32_cannot_express_runs_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    half = BIT_CAST.model(TensorProto.FLOAT16, BIT_CAST.first)
    half.graph.output.append(helper.make_tensor_value_info("h", TensorProto.FLOAT16, (1, 3, 8, 8)))
    model = prepared(half, tmp_path)
    assert "own.onnx: expected a graph that can be prepared, found Fail: " in caplog.text
    assert [(value.name, value.type.tensor_type.elem_type) for value in model.graph.output] == [
        ("m", TensorProto.FLOAT16)
    ]
    result, expected = run(model), run(half)
    assert result is not None
    np.testing.assert_array_equal(result, expected)


def names_a_type(name: str, attribute: OpSchema.Attribute) -> bool:
    """Return whether a description says that an integer stands for a type."""
    kinds = OpSchema.AttrType
    return (
        attribute.type in (kinds.INT, kinds.INTS)
        and MENTIONS_A_TYPE.search(attribute.description) is not None
        and name not in NOT_A_TYPE
    )


def test_every_attribute_that_names_a_type_is_known() -> None:
    """What a later version of ONNX adds is noticed here."""
    integers = {
        (schema.name, name): names_a_type(name, attribute)
        for schema in onnx.defs.get_all_schemas_with_history()
        for name, attribute in schema.attributes.items()
        if attribute.type in (OpSchema.AttrType.INT, OpSchema.AttrType.INTS)
    }
    assert len(integers) > 300
    for (operator, name), is_type in integers.items():
        assert is_type == (name in TYPE_ATTRIBUTES), (operator, name)


def test_every_operator_that_names_or_holds_a_type_has_a_case() -> None:
    kinds = OpSchema.AttrType
    holding = (kinds.TENSOR, kinds.SPARSE_TENSOR, kinds.GRAPH, kinds.TYPE_PROTO)
    operators = {
        schema.name
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == "" and schema.since_version <= max(OPSETS)
        if any(
            attribute.type in holding or names_a_type(name, attribute)
            for name, attribute in schema.attributes.items()
        )
    }
    assert len(operators) > 25
    assert operators <= {name.split()[0].rstrip(",") for name in CASES}


def test_lists_of_graphs_tensors_and_types() -> None:
    """No standard operator has such an attribute, but the format does."""
    half = TensorProto.FLOAT16
    tensor = helper.make_tensor("t", half, [1], [0.5])
    sparse = SparseTensorProto(values=tensor, dims=[1])
    declared = helper.make_tensor_type_proto(half, [1])
    nested = helper.make_optional_type_proto(helper.make_sequence_type_proto(declared))
    table = helper.make_map_type_proto(TensorProto.INT64, declared)
    value = helper.make_tensor_value_info("v", half, [1])
    inner = helper.make_graph(
        [helper.make_node("Own", [], ["o"], tensors=[tensor], sparse_tensors=[sparse])],
        "inner",
        [value],
        [helper.make_value_info("n", nested)],
        [tensor],
        value_info=[value, helper.make_value_info("table", table)],
        sparse_initializer=[sparse],
    )
    node = helper.make_node("Own", [], ["o"], graphs=[inner, inner], type_protos=[nested, table])
    model = helper.make_model(helper.make_graph([node], "g", [], [value]))
    types = re.compile(r"(?:elem_type|data_type): (10?)\b")
    before = types.findall(str(model))
    assert before == ["10"] * 19
    convert_to_float32(model)
    assert types.findall(str(model)) == ["1"] * len(before)
