"""Preparing a graph changes its cost and not its results."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from producer.contract.options import Options
from tests.support.tiny_models import loaded, saved, value
from worker.errors import ModelInvalid, OptionConflict
from worker.models.engines.onnx.graph import prepare
from worker.models.files.profile import Profile, adapt, input_size


def small_model(path: Path, *, outputs: int = 2, dtype: int = TensorProto.FLOAT16) -> Path:
    """Write a model with two convolutions, of which only the first one's output is used."""
    numpy_type = helper.tensor_dtype_to_np_dtype(dtype)
    random = np.random.default_rng(5)
    nodes, weights, values = [], [], []
    for index in range(outputs):
        kernel = random.random((1, 3, 3, 3)).astype(numpy_type)
        weights.append(numpy_helper.from_array(kernel, f"w{index}"))
        nodes.append(helper.make_node("Conv", ["x16", f"w{index}"], [f"y{index}"], pads=[1] * 4))
        values.append(helper.make_tensor_value_info(f"y{index}", dtype, (1, 1, 32, 32)))
    # The file's nodes are out of order, as in the public exports.
    nodes.append(helper.make_node("Cast", ["x"], ["x16"], to=dtype))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 32, 32))]
    graph = helper.make_graph(nodes, "small", inputs, values, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def run(path: Path, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y0"], {"x": batch})[0], np.float32)


def test_one_output_and_full_precision(tmp_path: Path) -> None:
    prepare(small_model(tmp_path / "half.onnx"), tmp_path / "full.onnx", full_precision=True)
    model = onnx.load(str(tmp_path / "full.onnx"))
    onnx.checker.check_model(model)
    assert [value.name for value in model.graph.output] == ["y0"]
    assert [tensor.name for tensor in model.graph.initializer] == ["w0"]
    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT}
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_the_map_stays_the_same(tmp_path: Path) -> None:
    source = small_model(tmp_path / "full.onnx", dtype=TensorProto.FLOAT)
    prepare(source, tmp_path / "cut.onnx", full_precision=True)
    model = onnx.load(str(source))
    model.graph.node.insert(0, model.graph.node.pop())
    onnx.save(model, str(tmp_path / "sorted.onnx"))
    batch = np.random.default_rng(6).random((1, 3, 32, 32), dtype=np.float32)
    assert np.array_equal(run(tmp_path / "cut.onnx", batch), run(tmp_path / "sorted.onnx", batch))


def test_half_weights_can_stay(tmp_path: Path) -> None:
    prepare(small_model(tmp_path / "half.onnx"), tmp_path / "cut.onnx", full_precision=False)
    weights = onnx.load(str(tmp_path / "cut.onnx")).graph.initializer
    assert {tensor.data_type for tensor in weights} == {TensorProto.FLOAT16}


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07" * 40])
def test_a_file_that_is_not_a_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelInvalid, match="is not an ONNX model"):
        loaded(path)


def test_a_damaged_model_is_refused_wherever_it_is_damaged(tmp_path: Path) -> None:
    """Most wrong bytes make the file invalid, and none causes an unexpected error."""
    whole = small_model(tmp_path / "own.onnx").read_bytes()
    random = np.random.default_rng(2)
    refused = 0
    for number in range(80):
        damaged = bytearray(whole)
        damaged[random.integers(len(whole))] = random.integers(256)
        path = tmp_path / f"damaged{number}.onnx"
        path.write_bytes(damaged)
        try:
            loaded(path)
        except ModelInvalid:
            refused += 1
    assert 20 < refused < 80
    strange = onnx.load(str(tmp_path / "own.onnx"))
    strange.graph.initializer[0].data_type = 99
    (tmp_path / "strange.onnx").write_bytes(strange.SerializeToString())
    with pytest.raises(ModelInvalid, match=r"^strange\.onnx cannot be loaded: "):
        loaded(tmp_path / "strange.onnx")


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    path = small_model(tmp_path / "own.onnx", dtype=TensorProto.FLOAT)
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    item = tensor.external_data.add()
    item.key, item.value = "location", "../../../etc/passwd"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelInvalid, match="keeps weights in other files"):
        loaded(path)


def test_a_constant_in_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"\0" * 4)
    constant = TensorProto(data_type=TensorProto.FLOAT, dims=[1], name="c")
    constant.data_location = TensorProto.EXTERNAL
    item = constant.external_data.add()
    item.key, item.value = "location", "other"
    nodes = [
        helper.make_node("Constant", [], ["c"], value=constant),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    shape = (1, 3, 32, 32)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "own.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelInvalid, match="keeps weights in other files"):
        loaded(tmp_path / "own.onnx")


def test_a_custom_model_runs_at_the_size_that_its_graph_fixes(tmp_path: Path) -> None:
    path = small_model(tmp_path / "own.onnx")
    engine = loaded(path)
    assert engine.input_size == (32, 32)
    assert engine.facts.dtype == "float32"
    assert input_size(Profile(), fixed=engine.input_size, model="own") == (32, 32)
    assert engine.infer(np.zeros((1, 3, 32, 32), np.float32)).shape == (1, 32, 32)
    profile = adapt(Profile(), Options(size=64))
    with pytest.raises(OptionConflict, match=r"own takes 32×32 only, .*64×64"):
        input_size(profile, fixed=engine.input_size, model="own")
    with pytest.raises(OptionConflict, match=r"own takes any×32 only, .*64×64"):
        input_size(profile, fixed=(None, 32), model="own")
    assert input_size(Profile(), fixed=(None, 32), model="own") == (32, 32)
    assert input_size(Profile(), fixed=(None, None), model="own") == (1024, 1024)


def test_a_model_of_four_channels_is_refused(tmp_path: Path) -> None:
    shape = (1, 4, 32, 32)
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1])]
    path = saved(tmp_path / "four.onnx", nodes, [value("x", shape)], [value("y", (1, 1, 32, 32))])
    with pytest.raises(ModelInvalid, match="expected an input of 3 channels, found 4"):
        loaded(path)


def own_operator(domain: str, kind: str) -> list[onnx.NodeProto]:
    """Return the operator inside a branch of a condition."""
    inner = helper.make_node(kind, ["x"], ["z"], domain=domain)
    branch = helper.make_graph([inner], "branch", [], [value("z", (1, 1, 32, 32))])
    condition = numpy_helper.from_array(np.asarray(True), "c")
    return [
        helper.make_node("Constant", [], ["c"], value=condition),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]


def test_an_operator_of_a_custom_library_is_refused(tmp_path: Path) -> None:
    values = [value("x", (1, 3, 32, 32))], [value("y", (1, 1, 32, 32))]
    path = saved(tmp_path / "own.onnx", own_operator("com.stranger", "Evil"), *values)
    with pytest.raises(ModelInvalid, match=r"custom library \(com\.stranger\)"):
        loaded(path)


def test_a_function_defined_in_the_file_is_allowed(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "function.onnx",
        [helper.make_node("Mean", ["x"], ["y"], domain="own")],
        [value("x", (1, 3, 32, 32))],
        [value("y", (1, 1, 32, 32))],
    )
    model = onnx.load(str(path))
    body = helper.make_node("ReduceMean", ["a"], ["b"], axes=[1])
    opset = helper.make_opsetid("", 17)
    model.functions.append(helper.make_function("own", "Mean", ["a"], ["b"], [body], [opset]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, str(path))
    batch = np.random.default_rng(2).random((1, 3, 32, 32), dtype=np.float32)
    np.testing.assert_allclose(loaded(path).infer(batch), batch.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(
    ("operator", "attributes", "sentence"),
    [
        ("RandomNormalLike", {"scale": 0.0}, "RandomNormalLike of scale > 0, found 0.0"),
        ("RandomNormalLike", {"scale": -1.0}, "found -1.0"),
        ("RandomNormalLike", {"scale": float("nan")}, "found nan"),
        ("RandomUniformLike", {"low": 2.0}, "RandomUniformLike of low ≤ high, found 2.0 and 1.0"),
        ("RandomUniformLike", {"high": float("nan")}, "found 0.0 and nan"),
    ],
)
@pytest.mark.parametrize("is_nested", [False, True])
def test_a_distribution_that_ends_the_process_is_refused(
    operator: str, attributes: dict[str, float], sentence: str, is_nested: bool, tmp_path: Path
) -> None:
    nodes = [
        helper.make_node(operator, ["x"], ["noise"]),
        helper.make_node("ReduceMean", ["noise"], ["y"], axes=[1]),
    ]
    nodes[0].attribute.extend(helper.make_attribute(*item) for item in attributes.items())
    output = [value("y", (1, 1, 32, 32))]
    if is_nested:
        branch = helper.make_graph(nodes, "branch", [], output)
        condition = numpy_helper.from_array(np.asarray(True))
        nodes = [
            helper.make_node("Constant", [], ["c"], value=condition),
            helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        ]
    path = saved(tmp_path / "own.onnx", nodes, [value("x", (1, 3, 32, 32))], output)
    with pytest.raises(ModelInvalid, match=f"own.onnx: expected .*{sentence}"):
        loaded(path)
