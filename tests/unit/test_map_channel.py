"""The foreground's channel is the one that the profile names, and never taken by accident."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy import special

from tests.support.device_models import masks_on_device, photographs
from tests.support.tiny_models import Axes, loaded, saved, value
from worker.errors import ModelInvalid
from worker.imaging import masks
from worker.models.engines.engine import Engine
from worker.models.engines.load import make_loader
from worker.models.engines.onnx.graph import prepare
from worker.models.engines.onnx.map_channel import channel_axis
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Layout, Profile
from worker.models.files.store import ModelFile

REFUSED = "expected a saliency map of one channel, found {} in .*; say in the profile's `channel`"
BATCH = np.random.default_rng(4).random((1, 3, 16, 24), dtype=np.float32)


def two_channels(
    path: Path,
    *,
    inputs: Axes = (1, 3, 16, 24),
    outputs: Axes = (1, 2, 16, 24),
    last: bool = False,
    of: int = TensorProto.FLOAT,
    single: bool = False,
) -> Path:
    """Write a model whose output has background and foreground, as logits.

    With `last`, the channels are the output's last axis. With `single`, a first output has one.
    """
    weight = np.array([[1, -2, 0.5], [0.5, 3, -1]]).reshape(2, 3, 1, 1)
    weights = [
        numpy_helper.from_array(weight.astype(helper.tensor_dtype_to_np_dtype(of)), "w"),
    ]
    nodes = [helper.make_node("Conv", ["x", "w"], ["both"])]
    order = [0, 2, 3, 1] if last else [0, 1, 2, 3]
    nodes.append(helper.make_node("Transpose", ["both"], ["y"], perm=order))
    values = [value("y", outputs, of)]
    if single:
        nodes.append(helper.make_node("ReduceMean", ["x"], ["one"], axes=[1], keepdims=1))
        values.insert(0, value("one", (1, 1, 16, 24), of))
    return saved(path, nodes, [value("x", inputs, of)], values, weights)


def logits(channel: int) -> NDArray[np.float32]:
    red, green, blue = BATCH[:, 0], BATCH[:, 1], BATCH[:, 2]
    maps = (red - 2 * green + 0.5 * blue, 0.5 * red + 3 * green - blue)
    return np.asarray(maps[channel], np.float32)


@pytest.mark.parametrize(
    ("inputs", "outputs", "last"),
    [
        ((1, 3, 16, 24), (1, 2, 16, 24), False),
        ((1, 3, 16, 24), (1, 16, 24, 2), True),
        (("n", 3, "h", "w"), ("n", 2, "h", "w"), False),
        (("n", 3, "h", "w"), ("n", "c", "h", "w"), False),
        (("n", 3, "h", "w"), ("n", "h", "w", 2), True),
        (("n", 3, "h", "w"), ("n", "h", "w", "c"), True),
        (("n", 3, "h", "w"), None, False),
        (("n", 3, "h", "w"), None, True),
    ],
)
@pytest.mark.parametrize("output", [0, "y", None])
def test_two_channels_need_a_channel(
    inputs: Axes, outputs: Axes, last: bool, output: int | str | None, tmp_path: Path
) -> None:
    path = two_channels(tmp_path / "own.onnx", inputs=inputs, outputs=outputs, last=last)
    with pytest.raises(ModelInvalid, match=r"^own\.onnx.*`channel`"):
        loaded(path, profile=Profile(output=output)).infer(BATCH)
    for channel in (0, 1):
        engine = loaded(path, profile=Profile(output=output, channel=channel))
        np.testing.assert_allclose(engine.infer(BATCH), logits(channel), atol=1e-5)
    with pytest.raises(ModelInvalid, match=r"channel 2, counted from 0, found 2 in \["):
        loaded(path, profile=Profile(output=output, channel=2)).infer(BATCH)


@pytest.mark.parametrize("output", [0, None])
def test_a_graph_that_states_another_number_of_channels(output: int | None, tmp_path: Path) -> None:
    """ONNX Runtime only warns when a graph computes another shape than it states."""
    axes = ("n", 3, "h", "w")
    path = two_channels(tmp_path / "own.onnx", inputs=axes, outputs=("n", 1, "h", "w"))
    with pytest.raises(ModelInvalid, match=REFUSED.format(2)):
        loaded(path, profile=Profile(output=output)).infer(BATCH)


def test_the_refusal_comes_before_any_image_if_the_graph_states_the_channels(
    tmp_path: Path,
) -> None:
    path = two_channels(tmp_path / "own.onnx")
    with pytest.raises(ModelInvalid, match=rf"^own\.onnx, output y: {REFUSED.format(2)}"):
        loaded(path, profile=Profile(output=0))
    with pytest.raises(ModelInvalid, match="its profile asks for channel 7, counted from 0"):
        loaded(path, profile=Profile(output=0, channel=7))


def test_channels_last_as_the_profile_says(tmp_path: Path) -> None:
    nodes = [helper.make_node("Slice", ["x", "first", "end", "axis"], ["y"])]
    weights = [
        numpy_helper.from_array(np.array([n]), name)
        for name, n in (("first", 1), ("end", 3), ("axis", 3))
    ]
    path = saved(
        tmp_path / "own.onnx",
        nodes,
        [value("x", (1, 16, 24, 3))],
        [value("y", (1, 16, 24, 2))],
        weights,
    )
    with pytest.raises(ModelInvalid, match=REFUSED.format(2)):
        loaded(path, profile=Profile(layout="nhwc", output=0))
    for channel in (0, 1):
        engine = loaded(path, profile=Profile(layout="nhwc", channel=channel))
        np.testing.assert_array_equal(engine.infer(BATCH), BATCH[:, channel + 1])


def test_a_channel_of_a_map_of_one(tmp_path: Path) -> None:
    for axes in ((1, 1, 16, 24), (1, 16, 24)):
        node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=int(len(axes) == 4))
        path = saved(
            tmp_path / f"own{len(axes)}.onnx", [node], [value("x", BATCH.shape)], [value("y", axes)]
        )
        engine = loaded(path, profile=Profile(channel=0))
        np.testing.assert_allclose(engine.infer(BATCH), BATCH.mean(1), atol=1e-6)
        with pytest.raises(
            ModelInvalid, match=r"`channel`|asks for channel 1, counted from 0, found 1"
        ):
            loaded(path, profile=Profile(output=0, channel=1)).infer(BATCH)


def test_among_several_outputs_the_one_with_the_channel_is_used(tmp_path: Path) -> None:
    path = two_channels(tmp_path / "own.onnx", single=True)
    for profile in (Profile(), Profile(channel=0)):
        np.testing.assert_allclose(
            loaded(path, profile=profile).infer(BATCH), BATCH.mean(1), atol=1e-6
        )
    np.testing.assert_allclose(
        loaded(path, profile=Profile(channel=1)).infer(BATCH), logits(1), atol=1e-5
    )


@pytest.mark.parametrize("of", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_a_softmax_over_the_channels(of: int, tmp_path: Path) -> None:
    expected = special.softmax(np.stack([logits(0), logits(1)]), axis=0)
    for last in (False, True):
        path = two_channels(tmp_path / f"own{last}.onnx", outputs=None, last=last, of=of)
        for channel in (0, 1):
            engine = loaded(path, profile=Profile(output=0, channel=channel, softmax=True))
            np.testing.assert_allclose(engine.infer(BATCH), expected[channel], atol=2e-3)


@pytest.mark.parametrize("softmax", [False, True])
def test_a_segmenter_takes_the_same_channel(softmax: bool, tmp_path: Path) -> None:
    path = two_channels(tmp_path / "own.onnx", inputs=("n", 3, 64, 64), outputs=("n", 2, 64, 64))
    for channel in (0, 1):
        profile = Profile(channel=channel, softmax=softmax, mean=0)
        engine = loaded(path, profile=profile, max_batch=4)
        segmenter = engine.build_segmenter()
        assert segmenter is not None
        rgb = photographs()[1]
        (device_mask,) = masks_on_device(segmenter, profile, [rgb], 64)
        (saliency,) = engine.infer(masks.to_input(rgb, size=(64, 64), mean=0.0, std=1.0))
        expected = masks.soft_mask(saliency, (64, 64), stretched=True, depth=np.uint8)
        assert device_mask.maximum == pytest.approx(saliency.max(), abs=1e-5)
        assert np.abs(device_mask.mask.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("shape", "layout", "image", "axis"),
    [
        ((1, 2, 8, 8), "nchw", (1, 3, 8, 8), 1),
        ((1, 2, 8, 8), "nhwc", (1, 8, 8, 3), 1),
        ((1, 8, 8, 2), "nchw", (1, 3, 8, 8), 3),
        ((1, 8, 8, 2), "nhwc", (1, 8, 8, 3), 3),
        ((1, 1, 8, 8), "nhwc", (1, 8, 8, 3), 1),
        ((1, 8, 8, 1), "nchw", (1, 3, 8, 8), 3),
        # Smaller than the image, and more channels than pixels on a side.
        ((1, 150, 32, 32), "nhwc", (1, 128, 128, 3), 1),
        ((1, 32, 32, 150), "nchw", (1, 3, 128, 128), 3),
        ((1, 21, 17, 25), "nhwc", (1, 65, 97, 3), 1),
        ((1, 17, 25, 21), "nchw", (1, 3, 65, 97), 3),
        # Both or none fit.
        ((1, 8, 8, 8), "nchw", (1, 3, 8, 8), 1),
        ((1, 8, 8, 8), "nhwc", (1, 8, 8, 3), 3),
        ((1, 2, "h", "w"), "nchw", (1, 3, "h", "w"), 1),
        ((1, 2, "h", "w"), "nhwc", (1, "h", "w", 3), 3),
    ],
)
def test_the_axis_of_channels(
    shape: tuple[int | str, ...], layout: Layout, image: tuple[int | str, ...], axis: int
) -> None:
    assert channel_axis(shape, layout=layout, images=image) == axis


def test_neither_the_own_engine_nor_torch_takes_a_channel_by_accident(tmp_path: Path) -> None:
    def load(path: Path, profile: Profile) -> Engine:
        file = ModelFile(name=path.name, path=path, sha256=path.stem, profile=profile)
        cache = FileCache(tmp_path)
        loader = make_loader(threads=1, file_cache=cache, own_engine=True, prepare=prepare)
        return loader(file, "cpu")

    wide = np.random.default_rng(1).random((48, 3, 3, 3), dtype=np.float32)
    narrow = np.random.default_rng(2).random((2, 48, 3, 3), dtype=np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1] * 4),
        helper.make_node("Conv", ["a", "w2"], ["b"], pads=[1] * 4),
        helper.make_node("Conv", ["b", "w3"], ["y"], pads=[1] * 4),
    ]
    middle = np.random.default_rng(3).random((48, 48, 3, 3), dtype=np.float32)
    weights = [
        numpy_helper.from_array(array, name)
        for name, array in (("w1", wide), ("w2", middle), ("w3", narrow))
    ]
    path = saved(
        tmp_path / "own.onnx",
        nodes,
        [value("x", (1, 3, 32, 32))],
        [value("y", (1, 2, 32, 32))],
        weights,
    )
    with pytest.raises(ModelInvalid, match=REFUSED.format(2)):
        load(path, Profile(output=0))
    for channel in (0, 1):
        engine = load(path, Profile(output=0, channel=channel))
        assert engine.facts.engine.startswith("onnxruntime")
        assert engine.facts.channels == 2
    (tmp_path / "own.pth").write_bytes(b"")
    for profile in (Profile(channel=1), Profile(channel=0, softmax=True)):
        with pytest.raises(ModelInvalid, match="expected a profile without `channel`"):
            load(tmp_path / "own.pth", profile)
