"""The batch axis is freed exactly where no image can change the map of another."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tests.support.tiny_models import loaded, saved, value
from worker.models.engines.onnx.batch_axis import BATCH
from worker.models.engines.onnx.graph import prepare
from worker.models.engines.onnx.output import shape_of

node = helper.make_node
ATTRIBUTES = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}


def array(name: str, *values: float, dtype: type = np.int64) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


KERNEL = numpy_helper.from_array(
    np.random.default_rng(3).random((1, 3, 3, 3), dtype=np.float32), "w"
)
# Before opset 13, unused inputs of Resize must be present and empty.
EMPTY = numpy_helper.from_array(np.zeros(0, np.float32), "empty")
MAP = node("Conv", ["x", "w"], ["m"], pads=[1, 1, 1, 1], strides=[2, 2])

COMPUTED = [  # As PyTorch exports F.interpolate to the size of another tensor.
    MAP,
    node("Shape", ["x"], ["shape"]),
    node("Slice", ["shape", "two", "four"], ["sides"]),
    node("Shape", ["m"], ["small"]),
    node("Slice", ["small", "zero", "two"], ["front"]),
    node("Concat", ["front", "sides"], ["sizes"], axis=0),
    node("Resize", ["m", "empty", "empty", "sizes"], ["y"], **ATTRIBUTES),
]
SLICES = [array("zero", 0), array("two", 2), array("four", 4)]
CONSTANT = [MAP, node("Resize", ["m", "empty", "empty", "sizes"], ["y"], **ATTRIBUTES)]
SCALES = [MAP, node("Resize", ["m", "empty", "scales"], ["y"], **ATTRIBUTES)]
MIXING = [  # A map stretched by the extremes of the whole batch.
    node("ReduceMean", ["x"], ["m"], axes=[1]),
    node("ReduceMax", ["m"], ["high"], keepdims=0),
    node("Div", ["m", "high"], ["y"]),
]
QUANTIZED = [
    node("ReduceMean", ["x"], ["m"], axes=[1]),
    node("DynamicQuantizeLinear", ["m"], ["q", "scale", "zero_point"]),
    node("DequantizeLinear", ["q", "scale", "zero_point"], ["y"]),
]
ONE_FROM_ANOTHER = [
    MAP,
    node("Gather", ["m", "first"], ["one"], axis=0),
    node("Sub", ["m", "one"], ["y"]),
]
COUNTED = [  # The number of images used as a value.
    MAP,
    node("Shape", ["x"], ["shape"]),
    node("Gather", ["shape", "first"], ["count"]),
    node("Cast", ["count"], ["number"], to=TensorProto.FLOAT),
    node("Mul", ["m", "number"], ["y"]),
]
LEARNING = [
    MAP,
    node(
        "BatchNormalization",
        ["m", "a", "b", "mean", "var"],
        ["y", "new_mean", "new_var"],
        training_mode=1,
    ),
]
RESHAPED = [MAP, node("Reshape", ["m", "sides"], ["y"])]


def prepared(
    folder: Path, nodes: Sequence[NodeProto], weights: Sequence[TensorProto], *, opset: int = 17
) -> Path:
    path = saved(
        folder / "own.onnx",
        nodes,
        [value("x", (1, 3, 32, 48))],
        [value("y", None)],
        [KERNEL, EMPTY, *weights],
        opset=opset,
    )
    prepare(path, folder / "ready.onnx", full_precision=True)
    return folder / "ready.onnx"


def run(path: Path, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": batch})[0])


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        (COMPUTED, SLICES),
        (CONSTANT, [array("sizes", 1, 1, 32, 48)]),
        (CONSTANT, [array("sizes", 1, 1, 33, 47)]),
        (SCALES, [array("scales", 1, 1, 2, 2, dtype=np.float32)]),
        ([MAP, node("Sigmoid", ["m"], ["y"])], []),
    ],
)
def test_a_batch_of_two_gives_the_maps_of_single_images(
    tmp_path: Path, nodes: list[NodeProto], weights: list[TensorProto], opset: int
) -> None:
    ready = prepared(tmp_path, nodes, weights, opset=opset)
    graph = onnx.load(str(ready)).graph
    assert (shape_of(graph.input[0]) or ())[0] == (shape_of(graph.output[0]) or ())[0] == BATCH
    batch = np.random.default_rng(4).random((2, 3, 32, 48), dtype=np.float32)
    alone = [run(tmp_path / "own.onnx", batch[n : n + 1]) for n in range(2)]
    np.testing.assert_allclose(run(ready, batch), np.concatenate(alone), rtol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        (MIXING, []),
        (QUANTIZED, []),
        (RESHAPED, [array("sides", 1, 1, 16, 24)]),
        (ONE_FROM_ANOTHER, [array("first", 0)]),
        (COUNTED, [array("first", 0)]),
    ],
)
def test_a_batch_of_one_stays_where_images_could_mix(
    tmp_path: Path, nodes: list[NodeProto], weights: list[TensorProto]
) -> None:
    ready = prepared(tmp_path, nodes, weights)
    assert (shape_of(onnx.load(str(ready)).graph.input[0]) or ())[0] == 1
    engine = loaded(tmp_path / "own.onnx")
    batch = np.random.default_rng(4).random((2, 3, 32, 48), dtype=np.float32)
    batch[1] *= 3
    alone = [engine.infer(batch[n : n + 1]) for n in range(2)]
    np.testing.assert_array_equal(engine.infer(batch), np.concatenate(alone))


def test_a_batch_of_one_stays_where_a_norm_is_computed_over_the_batch(tmp_path: Path) -> None:
    weights = [array(name, 1, dtype=np.float32) for name in ("a", "b", "mean", "var")]
    ready = prepared(tmp_path, LEARNING, weights)
    assert (shape_of(onnx.load(str(ready)).graph.input[0]) or ())[0] == 1
