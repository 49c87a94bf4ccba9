"""Preparing a graph changes what it costs and not what it says."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from producer.options import Options
from worker.errors import ModelInvalid, OptionConflict
from worker.models import onnx_engine
from worker.models.graph import prepare
from worker.models.profile import Profile, adapt, input_size


def small_model(path: Path, *, outputs: int = 2, dtype: int = TensorProto.FLOAT16) -> Path:
    """Two branches of one convolution each, of which only the first is read."""
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


def loaded(path: Path) -> onnx_engine.OnnxEngine:
    return onnx_engine.load(
        path, sha256="own", device="cpu", threads=1, folder=path.parent / "prepared"
    )


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


def test_the_real_weights_say_the_same_prepared(
    isnet_onnx: Path, tmp_path: Path, photographs: Path
) -> None:
    from worker.image import decode
    from worker.mask import eight_bits, to_input

    prepare(isnet_onnx, tmp_path / "full.onnx", full_precision=True)
    picture = decode((photographs / "chelsea.png").read_bytes(), max_pixels=10**6)
    batch = to_input(eight_bits(picture.rgb), size=(1024, 1024), mean=0.5, std=1.0)
    maps = []
    for path in (isnet_onnx, tmp_path / "full.onnx"):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        maps.append(session.run(["output"], {"input": batch})[0])
    assert np.abs(maps[0] - maps[1]).max() < 1 / 255


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07" * 40])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelInvalid, match="is no ONNX model"):
        loaded(path)


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


def test_an_own_model_runs_at_the_size_its_file_fixes(tmp_path: Path) -> None:
    path = small_model(tmp_path / "own.onnx")
    engine = loaded(path)
    assert engine.input_size == (32, 32)
    assert engine.facts.dtype == "float32"
    assert input_size(Profile(), fixed_size=engine.input_size, model="own") == (32, 32)
    assert engine.infer(np.zeros((1, 3, 32, 32), np.float32)).shape == (1, 32, 32)
    profile = adapt(Profile(), Options(size=64))
    with pytest.raises(OptionConflict, match=r"own takes 32×32 and no other, .*64×64"):
        input_size(profile, fixed_size=engine.input_size, model="own")


def test_a_model_whose_output_is_no_map_is_refused(tmp_path: Path) -> None:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 32, 32))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3072))]
    nodes = [helper.make_node("Flatten", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "flat", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "flat.onnx"))
    engine = loaded(tmp_path / "flat.onnx")
    with pytest.raises(ModelInvalid, match=r"found \(1, 3072\)"):
        engine.infer(np.zeros((1, 3, 32, 32), np.float32))


def test_a_model_of_four_channels_is_refused(tmp_path: Path) -> None:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 32, 32))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4, 32, 32))]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "four.onnx"))
    with pytest.raises(ModelInvalid, match="expected an input of 3 channels, found 4"):
        loaded(tmp_path / "four.onnx")
