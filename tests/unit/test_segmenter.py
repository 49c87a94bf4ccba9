"""Masks made by a segmenter against those of `worker.imaging.masks`; the device is the CPU."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.support.device_models import mask_on_host, masks_on_device, mean_and, model, photographs
from tests.support.tiny_models import loaded, saved, value
from worker.errors import ModelInvalid
from worker.imaging import masks
from worker.imaging.lanczos import lanczos_weights
from worker.models.engines.onnx.conversion_graphs import mask_graph
from worker.models.engines.onnx.map_channel import MapChannel
from worker.models.engines.segmenter import Conversion
from worker.models.engines.torch import segmenter as torch_segmenter
from worker.models.files.profile import Profile
from worker.pipeline.presets import LARGEST_ON_DEVICE, PRESETS, fits_device


@pytest.mark.parametrize(
    "profile",
    [
        Profile(mean=0),
        Profile(mean=(0.1, 0.05, 0), std=(1, 0.9, 1.1), channels="bgr"),
        Profile(mean=0, stretch=False),
        Profile(mean=0.5, std=0.25, sigmoid=True),
        # No value exceeds one half.
        Profile(mean=0.9),
    ],
)
def test_masks_equal_those_of_the_host(tmp_path: Path, profile: Profile) -> None:
    engine = mean_and(tmp_path / "own.onnx", "Identity")
    segmenter = engine.build_segmenter()
    assert segmenter is not None
    images = photographs()
    for rgb, device_mask in zip(
        images, masks_on_device(segmenter, profile, images, 64), strict=True
    ):
        expected = mask_on_host(engine, profile, rgb, 64)
        assert device_mask.is_finite
        assert device_mask.mask.shape == expected.shape
        assert device_mask.mask.dtype == np.uint8
        # Pillow rounds twice when it resizes, and stretching amplifies the difference.
        limit = 1 if rgb.shape[:2] == (64, 64) else 3
        assert np.abs(device_mask.mask.astype(int) - expected).max() <= limit
        assert (device_mask.mask != expected).mean() < 0.25


def test_a_flat_map_has_no_foreground(tmp_path: Path) -> None:
    engine = mean_and(tmp_path / "own.onnx", "Identity")
    segmenter = engine.build_segmenter()
    assert segmenter is not None
    white = np.full((70, 80, 3), 255, np.uint8)
    (device_mask,) = masks_on_device(segmenter, Profile(mean=0), [white], 64)
    assert (device_mask.minimum, device_mask.maximum) == pytest.approx((1, 1))
    assert not device_mask.mask.any()
    (device_mask,) = masks_on_device(segmenter, Profile(mean=0, stretch=False), [white], 64)
    # A full mask is 255, not 254.
    assert device_mask.mask.min() == 255


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_a_batch_gives_the_masks_of_single_images(tmp_path: Path, count: int) -> None:
    segmenter = mean_and(tmp_path / "own.onnx", "Identity").build_segmenter()
    assert segmenter is not None
    images = (photographs() * 2)[:count]
    together = masks_on_device(segmenter, Profile(mean=0), images, 32)
    for rgb, device_mask in zip(images, together, strict=True):
        (single,) = masks_on_device(segmenter, Profile(mean=0), [rgb], 32)
        np.testing.assert_array_equal(device_mask.mask, single.mask)
        assert device_mask[1:] == single[1:]


def test_a_graph_for_one_image_runs_images_one_by_one(tmp_path: Path) -> None:
    axes = (1, 3, 32, 32)
    node = helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1)
    # A maximum over all axes, including the batch's, keeps the batch at one.
    nodes = [
        node,
        helper.make_node("ReduceMax", ["m"], ["top"], keepdims=1),
        helper.make_node("Div", ["m", "top"], ["y"]),
    ]
    path = saved(tmp_path / "one.onnx", nodes, [value("x", axes)], [value("y", (1, 1, 32, 32))])
    segmenter = loaded(path, max_batch=4).build_segmenter()
    assert segmenter is not None
    device_masks = masks_on_device(segmenter, Profile(mean=0), photographs()[:3], 32)
    assert [device_mask.maximum for device_mask in device_masks] == [1, 1, 1]


def test_half_precision(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.full((2, 3, 1, 1), 1 / 3, np.float16), "w")
    # Two channels, the first of which is the saliency map.
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    path = tmp_path / "half.onnx"
    engine = model(path, nodes, weight, of=TensorProto.FLOAT16)
    segmenter = engine.build_segmenter()
    assert segmenter is not None
    for rgb in photographs()[:2]:
        (device_mask,) = masks_on_device(segmenter, Profile(mean=0), [rgb], 64)
        assert (
            np.abs(
                device_mask.mask.astype(int) - mask_on_host(engine, Profile(mean=0), rgb, 64)
            ).max()
            <= 3
        )


def test_nan_is_reported_for_the_image_that_has_it(tmp_path: Path) -> None:
    segmenter = mean_and(tmp_path / "own.onnx", "Sqrt").build_segmenter()
    assert segmenter is not None
    light, dark = np.full((9, 9, 3), 200, np.uint8), np.full((9, 9, 3), 10, np.uint8)
    device_masks = masks_on_device(segmenter, Profile(), [light, dark, light], 8)
    assert [device_mask.is_finite for device_mask in device_masks] == [True, False, True]
    segmenter = mean_and(tmp_path / "infinite.onnx", "Reciprocal").build_segmenter()
    assert segmenter is not None
    (device_mask,) = masks_on_device(segmenter, Profile(mean=0), [np.zeros((9, 9, 3), np.uint8)], 8)
    assert not device_mask.is_finite


def test_a_refused_input_is_an_error_of_the_model(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)]
    path = saved(
        tmp_path / "own.onnx",
        nodes,
        [value("x", ("n", 3, 32, 32))],
        [value("y", ("n", 1, 32, 32))],
    )
    segmenter = loaded(path, max_batch=4).build_segmenter()
    assert segmenter is not None
    with pytest.raises(ModelInvalid, match=r"own\.onnx refuses 1 images at \(64, 64\)"):
        masks_on_device(segmenter, Profile(), photographs()[:1], 64)


def test_an_engine_on_the_cpu_has_no_segmenter(tmp_path: Path) -> None:
    assert mean_and(tmp_path / "own.onnx", "Identity").segmenter is None


def test_which_presets_and_profiles_run_on_a_device() -> None:
    pixels = np.zeros((30, 40, 3), np.uint8)
    default, profile = PRESETS["default"], Profile()
    assert fits_device(default, profile, pixels)
    assert fits_device(default, Profile(sigmoid=True, stretch=False, channels="bgr"), pixels)
    assert not fits_device(PRESETS["isnet-segment"], profile, pixels)
    assert not fits_device(PRESETS["segmentation-custom"], profile, pixels)
    assert not fits_device(default, Profile(divisor="max"), pixels)
    assert not fits_device(default, Profile(resampling="bilinear"), pixels)
    assert not fits_device(default, Profile(layout="nhwc"), pixels)
    assert not fits_device(default, profile, pixels.astype(np.uint16))
    large = np.lib.stride_tricks.as_strided(pixels, (LARGEST_ON_DEVICE, 2, 3), (0, 0, 1))
    assert not fits_device(default, profile, large)


@pytest.mark.parametrize(
    "reading",
    [
        Profile(),
        Profile(sigmoid=True),
        Profile(stretch=False),
        Profile(range=(0.2, 0.3), stretch=False),
        Profile(range=(1, -1)),
        Profile(range=(1, 0), sigmoid=True, stretch=False),
    ],
    ids=["plain", "sigmoid", "unstretched", "narrow", "inverted", "background"],
)
@pytest.mark.parametrize("top", [1.0, 0.4, float("nan"), float("inf")])
def test_onnx_runtime_and_torch_make_the_same_mask(
    tmp_path: Path, reading: Profile, top: float
) -> None:
    map_ = np.random.default_rng(0).random((32, 32), dtype=np.float32) * np.float32(0.4)
    map_[8:16, 4:9] = top
    vertical, horizontal = lanczos_weights(32, 70), np.ascontiguousarray(lanczos_weights(32, 50).T)
    conversion = Conversion.of(reading, (32, 32))
    graph = mask_graph(
        element=TensorProto.FLOAT,
        rank=4,
        channel=MapChannel(1, 0, softmax=False),
        sigmoid=conversion.sigmoid,
        value_range=conversion.range,
        stretch=conversion.stretch,
    )
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    feed = {
        "maps": map_[None, None],
        "index": np.array([0]),
        "vertical": vertical,
        "horizontal": horizontal,
    }
    levels, (minimum, maximum, sound) = session.run(None, feed)
    other = torch_segmenter.mask_of(
        torch.from_numpy(map_),
        vertical=torch.from_numpy(vertical),
        horizontal=torch.from_numpy(horizontal),
        conversion=conversion,
    )
    assert other.is_finite == (sound == 0) == np.isfinite(top)
    if other.is_finite:
        assert (other.minimum, other.maximum) == pytest.approx((minimum, maximum), rel=1e-6)
        assert np.abs(other.mask.astype(int) - levels).max() <= 1
        saliency = masks.sigmoid(map_) if reading.sigmoid else map_
        saliency = masks.to_full_range(saliency, *reading.range)
        expected = masks.soft_mask(saliency, (50, 70), stretched=reading.stretch, depth=np.uint8)
        assert np.abs(levels.astype(int) - expected).max() <= 1
