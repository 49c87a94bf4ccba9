"""The saliency map is chosen among several outputs, or refused if there is none."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.tiny_models import Axes, channel_mean, loaded, saved, value
from worker.errors import ModelInvalid
from worker.models.engines.onnx.output import choose_output
from worker.models.files.profile import Profile

INPUT = (1, 3, 32, 32)


def model(*outputs: tuple[str, Axes] | tuple[str, Axes, int]) -> onnx.ModelProto:
    """Return a graph that declares only these outputs."""
    values = [value(*output) for output in outputs]
    nodes = [helper.make_node("Unknown", ["x"], [item.name], domain="own") for item in values]
    graph = helper.make_graph(nodes, "g", [value("x", INPUT)], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("own", 1)])


ISNET = model(
    ("d1", (1, 1, 32, 32)), ("d2", (1, 1, 32, 32)), ("f1", (1, 64, 16, 16)), ("f2", (1, 1, 8, 8))
)


@pytest.mark.parametrize(
    ("graph", "name"),
    [
        (ISNET, "d1"),
        (model(("features", (1, 64, 32, 32)), ("map", (1, 1, 32, 32))), "map"),
        (model(("coarse", (1, 1, 8, 8)), ("fine", (1, 1, 32, 32))), "fine"),
        (model(("side", ("n", None, None, None)), ("map", (1, 1, 32, 32))), "map"),
        (model(("dynamic", ("n", 1, "h", "w")), ("other", ("n", 1, "h", "w"))), "dynamic"),
        (model(("labels", (1, 1, 32, 32), TensorProto.INT64), ("map", (1, 32, 32))), "map"),
        (model(("channels", (1, 32, 32, 21)), ("map", (1, 32, 32, 1))), "map"),
        (model(("class", (1, 1000)), ("unknown", None)), "unknown"),
    ],
)
def test_the_first_of_the_largest_maps_is_found(graph: onnx.ModelProto, name: str) -> None:
    assert choose_output(graph, None, name="own") == name


@pytest.mark.parametrize(("wanted", "name"), [("d2", "d2"), (0, "d1"), (3, "f2"), (2, "f1")])
def test_a_profile_chooses_by_name_or_index(wanted: str | int, name: str) -> None:
    assert choose_output(ISNET, wanted, name="own") == name


@pytest.mark.parametrize(
    ("graph", "wanted", "sentence"),
    [
        (ISNET, "d7", r"asks for the output 'd7', its graph has d1 \(1, 1, 32, 32\), d2 "),
        (ISNET, 4, r"asks for output 4, its graph has 4, counted from 0: d1 "),
        (ISNET, -1, r"asks for output -1"),
        (model(("class", (1, 1000))), None, r"a map of one channel, found class \(1, 1000\); "),
        (model(("two", (1, 2, 8, 8))), None, r"a map of one channel, found two \(1, 2, 8, 8\)"),
        (
            model(("m", (1, 1, 8, 8), TensorProto.UINT8)),
            None,
            r"found m uint8 \(1, 1, 8, 8\); name",
        ),
        (model(("class", (1, 1000))), "class", r"not a map of \(N, .*: class \(1, 1000\)"),
    ],
)
def test_a_missing_output_or_one_that_is_not_a_map_is_refused(
    graph: onnx.ModelProto, wanted: str | int | None, sentence: str
) -> None:
    with pytest.raises(ModelInvalid, match=rf"^own: .*{sentence}"):
        choose_output(graph, wanted, name="own")


def test_shapes_that_the_file_does_not_declare_are_inferred(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("ReduceMean", ["x"], ["map"], axes=[1]),
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in ("flat", "map")]
    for output in outputs:
        output.type.tensor_type.elem_type = TensorProto.FLOAT
    path = saved(tmp_path / "own.onnx", nodes, [value("x", INPUT)], outputs)
    assert loaded(path).infer(np.ones(INPUT, np.float32)).shape == (1, 32, 32)
    only = saved(tmp_path / "flat.onnx", nodes[:1], [value("x", INPUT)], outputs[:1])
    with pytest.raises(ModelInvalid, match=r"found flat \(1, 3072\)"):
        loaded(only)


def test_an_output_of_several_channels_is_used_if_requested(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    path = saved(tmp_path / "own.onnx", nodes, [value("x", INPUT)], [value("y", INPUT)])
    batch = np.random.default_rng(1).random(INPUT, dtype=np.float32)
    with pytest.raises(ModelInvalid, match=r"found y \(1, 3, 32, 32\); name .*`channel`$"):
        loaded(path)
    for channel in range(3):
        profile = Profile(output=0, channel=channel)
        maps = loaded(path, profile=profile).infer(batch)
        np.testing.assert_array_equal(maps, batch[:, channel])


def test_channels_last(tmp_path: Path) -> None:
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[3], keepdims=1)
    path = saved(
        tmp_path / "own.onnx",
        [node],
        [value("x", (1, 24, 32, 3))],
        [value("y", (1, 24, 32, 1))],
    )
    with pytest.raises(
        ModelInvalid,
        match=r"own\.onnx: its profile says layout nchw, its graph takes \[1, 24, 32, 3\], "
        "which is nhwc",
    ):
        loaded(path)
    engine = loaded(path, profile=Profile(layout="nhwc"))
    assert engine.input_size == (32, 24)
    batch = np.random.default_rng(1).random((2, 3, 24, 32), dtype=np.float32)
    np.testing.assert_allclose(engine.infer(batch), batch.mean(axis=1), atol=1e-6)


def test_a_profile_with_the_wrong_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"says layout nhwc, its graph .* is nchw"):
        loaded(channel_mean(tmp_path / "own.onnx"), profile=Profile(layout="nhwc"))


def test_dynamic_sizes_and_a_half_input(tmp_path: Path) -> None:
    path = channel_mean(tmp_path / "own.onnx", axes=("n", 3, "h", "w"), dtype=TensorProto.FLOAT16)
    engine = loaded(path)
    assert engine.input_size == (None, None)
    for shape in ((1, 3, 20, 33), (2, 3, 64, 8)):
        batch = np.random.default_rng(1).random(shape, dtype=np.float32)
        np.testing.assert_allclose(engine.infer(batch), batch.mean(axis=1), atol=1e-3)


def test_a_fixed_batch_of_four_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="found one for 4; export it"):
        loaded(channel_mean(tmp_path / "own.onnx", axes=(4, 3, 8, 8)))


def test_a_sentence_shows_the_beginning_of_long_names() -> None:
    graph = model(("d" * 20_000_000, (1, 2, 32, 32)), ("x", (1, 2, "h" * 5_000_000, 32)))
    found = r"found d+… \(1, 2, 32, 32\), x \(1, 2, h+…, 32\); name"
    with pytest.raises(ModelInvalid, match=found) as caught:
        choose_output(graph, None, name="own")
    assert len(str(caught.value)) < 400
