"""Masks made on the device beside those made here, on the one device that is always there."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import skimage.data
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.support.device_models import Picture, mean_and, model, photographs
from tests.support.tiny_models import loaded, saved, value
from worker.errors import ModelInvalid
from worker.imaging import masks
from worker.imaging.lanczos import lanczos
from worker.models.engines import gpu
from worker.models.engines.load import loader
from worker.models.engines.on_device import Pictures, Reading, Seen
from worker.models.engines.onnx import engine as onnx_engine
from worker.models.engines.onnx.engine import OnnxEngine
from worker.models.engines.onnx.providers import CUDA, TENSORRT
from worker.models.engines.onnx.steps import mask_graph
from worker.models.engines.torch import engine as torch_engine
from worker.models.engines.torch import on_device as torch_pictures
from worker.models.engines.torch.engine import TorchEngine
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelStore
from worker.pipeline.presets import LARGEST, PRESETS, fits_device


def here(engine: OnnxEngine | TorchEngine, profile: Profile, rgb: Picture, side: int) -> Picture:
    """The default preset's mask, with Pillow's resizing on the way in."""
    batch = masks.to_input(
        rgb,
        size=(side, side),
        mean=profile.mean,
        std=profile.std,
        channels=profile.channels,
    )
    (saliency,) = engine.infer(batch)
    if profile.sigmoid:
        saliency = masks.sigmoid(saliency)
    size = (rgb.shape[1], rgb.shape[0])
    return np.asarray(
        masks.soft_mask(saliency, size, stretched=profile.stretch, depth=np.uint8), np.uint8
    )


def there(
    pictures: Pictures, profile: Profile, images: Sequence[Picture], side: int
) -> Sequence[Seen]:
    size = (side, side)
    uploaded = [pictures.upload(rgb, size) for rgb in images]
    return pictures.masks(uploaded, Reading.of(profile, size))


@pytest.mark.parametrize(
    "profile",
    [
        Profile(mean=0),
        Profile(mean=(0.1, 0.05, 0), std=(1, 0.9, 1.1), channels="bgr"),
        Profile(mean=0, stretch=False),
        Profile(mean=0.5, std=0.25, sigmoid=True),
        # Nothing in it exceeds a half.
        Profile(mean=0.9),
    ],
)
def test_masks_are_those_of_the_host(tmp_path: Path, profile: Profile) -> None:
    engine = mean_and(tmp_path / "own.onnx", "Identity")
    pictures = engine.on_pictures()
    assert pictures is not None
    images = photographs()
    for rgb, found in zip(images, there(pictures, profile, images, 64), strict=True):
        expected = here(engine, profile, rgb, 64)
        assert found.finite
        assert found.mask.shape == expected.shape
        assert found.mask.dtype == np.uint8
        # Pillow rounds a picture twice on its way, and a stretched map shows it a little more.
        limit = 1 if rgb.shape[:2] == (64, 64) else 3
        assert np.abs(found.mask.astype(int) - expected).max() <= limit
        assert (found.mask != expected).mean() < 0.25


def test_a_flat_map_is_no_foreground(tmp_path: Path) -> None:
    engine = mean_and(tmp_path / "own.onnx", "Identity")
    pictures = engine.on_pictures()
    assert pictures is not None
    white = np.full((70, 80, 3), 255, np.uint8)
    (found,) = there(pictures, Profile(mean=0), [white], 64)
    assert (found.low, found.high) == pytest.approx((1, 1))
    assert not found.mask.any()
    (found,) = there(pictures, Profile(mean=0, stretch=False), [white], 64)
    # What is full is 255 and not 254.
    assert found.mask.min() == 255


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_a_batch_gives_what_each_gives_alone(tmp_path: Path, count: int) -> None:
    pictures = mean_and(tmp_path / "own.onnx", "Identity").on_pictures()
    assert pictures is not None
    images = (photographs() * 2)[:count]
    together = there(pictures, Profile(mean=0), images, 32)
    for rgb, found in zip(images, together, strict=True):
        (alone,) = there(pictures, Profile(mean=0), [rgb], 32)
        np.testing.assert_array_equal(found.mask, alone.mask)
        assert found[1:] == alone[1:]


def test_a_graph_for_one_image_is_run_one_by_one(tmp_path: Path) -> None:
    axes = (1, 3, 32, 32)
    node = helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1)
    # A product over all axes, the batch's too, so that it stays one.
    nodes = [
        node,
        helper.make_node("ReduceMax", ["m"], ["top"], keepdims=1),
        helper.make_node("Div", ["m", "top"], ["y"]),
    ]
    path = saved(tmp_path / "one.onnx", nodes, [value("x", axes)], [value("y", (1, 1, 32, 32))])
    pictures = loaded(path, most=4).on_pictures()
    assert pictures is not None
    found = there(pictures, Profile(mean=0), photographs()[:3], 32)
    assert [seen.high for seen in found] == [1, 1, 1]


def test_half_precision(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.full((2, 3, 1, 1), 1 / 3, np.float16), "w")
    # Two channels, of which the first is the map.
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    path = tmp_path / "half.onnx"
    engine = model(path, nodes, weight, of=TensorProto.FLOAT16)
    pictures = engine.on_pictures()
    assert pictures is not None
    for rgb in photographs()[:2]:
        (found,) = there(pictures, Profile(mean=0), [rgb], 64)
        assert np.abs(found.mask.astype(int) - here(engine, Profile(mean=0), rgb, 64)).max() <= 3


def test_what_is_no_number_is_said_of_the_picture_it_is_in(tmp_path: Path) -> None:
    pictures = mean_and(tmp_path / "own.onnx", "Sqrt").on_pictures()
    assert pictures is not None
    light, dark = np.full((9, 9, 3), 200, np.uint8), np.full((9, 9, 3), 10, np.uint8)
    found = there(pictures, Profile(), [light, dark, light], 8)
    assert [seen.finite for seen in found] == [True, False, True]
    pictures = mean_and(tmp_path / "infinite.onnx", "Reciprocal").on_pictures()
    assert pictures is not None
    (seen,) = there(pictures, Profile(mean=0), [np.zeros((9, 9, 3), np.uint8)], 8)
    assert not seen.finite


def test_a_refusal_is_the_model_s(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)]
    path = saved(
        tmp_path / "own.onnx",
        nodes,
        [value("x", ("n", 3, 32, 32))],
        [value("y", ("n", 1, 32, 32))],
    )
    pictures = loaded(path, most=4).on_pictures()
    assert pictures is not None
    with pytest.raises(ModelInvalid, match=r"own\.onnx refuses 1 pictures at \(64, 64\)"):
        there(pictures, Profile(), photographs()[:1], 64)


def test_only_a_gpu_takes_pictures(tmp_path: Path) -> None:
    assert mean_and(tmp_path / "own.onnx", "Identity").pictures is None


def test_what_a_device_does_not_know_is_done_here() -> None:
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
    large = np.lib.stride_tricks.as_strided(pixels, (LARGEST, 2, 3), (0, 0, 1))
    assert not fits_device(default, profile, large)


def test_torch_makes_the_same_masks(isnet_pth: Path) -> None:
    """Photographs of several sizes at once, through ISNet at a size that takes no time."""
    engine = torch_engine.load(isnet_pth, device="cpu", threads=0, most=4)
    assert engine.pictures is None
    images = photographs()[:3]
    for profile in (Profile(), Profile(stretch=False, channels="bgr")):
        found = there(engine.on_pictures(), profile, images, 128)
        for rgb, seen in zip(images, found, strict=True):
            expected = here(engine, profile, rgb, 128)
            assert seen.finite
            assert seen.mask.shape == expected.shape
            apart = np.abs(seen.mask.astype(int) - expected)
            assert apart.mean() < 1
            assert (apart > 4).mean() < 0.02


@pytest.mark.parametrize(
    "reading",
    [Profile(), Profile(sigmoid=True), Profile(stretch=False)],
    ids=["plain", "sigmoid", "unstretched"],
)
@pytest.mark.parametrize("top", [1.0, 0.4, float("nan"), float("inf")])
def test_both_libraries_read_a_map_alike(tmp_path: Path, reading: Profile, top: float) -> None:
    map_ = np.random.default_rng(0).random((32, 32), dtype=np.float32) * np.float32(0.4)
    map_[8:16, 4:9] = top
    down, across = lanczos(32, 70), np.ascontiguousarray(lanczos(32, 50).T)
    read = Reading.of(reading, (32, 32))
    graph = mask_graph(
        element=TensorProto.FLOAT,
        rank=4,
        channels=1,
        sigmoid=read.sigmoid,
        stretch=read.stretch,
    )
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    feed = {"maps": map_[None, None], "index": np.array([0]), "down": down, "across": across}
    levels, (low, high, sound) = session.run(None, feed)
    other = torch_pictures.seen(
        torch.from_numpy(map_),
        down=torch.from_numpy(down),
        across=torch.from_numpy(across),
        reading=read,
    )
    assert other.finite == (sound == 0) == np.isfinite(top)
    if other.finite:
        assert (other.low, other.high) == pytest.approx((low, high), rel=1e-6)
        assert np.abs(other.mask.astype(int) - levels).max() <= 1
        saliency = masks.sigmoid(map_) if reading.sigmoid else map_
        expected = masks.soft_mask(saliency, (50, 70), stretched=reading.stretch, depth=np.uint8)
        assert np.abs(levels.astype(int) - expected).max() <= 1


def test_the_real_model_sees_the_same(store: ModelStore, tmp_path: Path) -> None:
    file = store.find("isnet-general-use")
    engine = onnx_engine.load(
        file.path,
        name=file.name,
        sha256=file.sha256,
        profile=file.profile,
        device="cpu",
        threads=0,
        disk=FileCache(tmp_path),
    )
    pictures = engine.on_pictures()
    assert pictures is not None
    rgb = np.asarray(Image.fromarray(skimage.data.coffee()).resize((1500, 1100)))
    (found,) = there(pictures, file.profile, [rgb], 1024)
    expected = here(engine, file.profile, rgb, 1024)
    apart = np.abs(found.mask.astype(int) - expected)
    # A picture that was rounded otherwise is another one to the network, here and there.
    assert (apart > 2).mean() < 1e-3
    assert (apart > 0).mean() < 0.05


def cuda_starts() -> bool:
    return gpu.why_not(gpu.onnxruntime_facts()) is None


@pytest.mark.skipif(not cuda_starts(), reason="needs a CUDA device and ONNX Runtime for it")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("tensorrt", [False, True])
def test_the_real_model_on_a_gpu(tensorrt: bool, store: ModelStore, tmp_path: Path) -> None:
    if tensorrt and (reason := gpu.why_no_tensorrt()):
        pytest.skip(reason)
    file = store.find("isnet-general-use")
    load = loader(threads=0, disk=FileCache(tmp_path), batch=4, tensorrt=tensorrt)
    on_gpu, on_cpu = load(file, "cuda"), load(file, "cpu")
    assert on_gpu.facts.provider == (TENSORRT if tensorrt else CUDA)
    assert on_gpu.facts.device == "cuda:0"
    assert on_gpu.pictures is not None
    assert isinstance(on_cpu, OnnxEngine)
    images = photographs()[:3]
    found = there(on_gpu.pictures, file.profile, images, 1024)
    for rgb, seen in zip(images, found, strict=True):
        apart = np.abs(seen.mask.astype(int) - here(on_cpu, file.profile, rgb, 1024))
        # Half precision is another number type, not another mask.
        assert (apart > 8).mean() < 0.02
    on_gpu.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_torch_on_a_gpu(isnet_pth: Path) -> None:
    on_gpu = torch_engine.load(isnet_pth, device="cuda", threads=0, most=4)
    on_cpu = torch_engine.load(isnet_pth, device="cpu", threads=0)
    assert on_gpu.pictures is not None
    images = photographs()[:3]
    found = there(on_gpu.pictures, Profile(), images, 256)
    for rgb, seen in zip(images, found, strict=True):
        apart = np.abs(seen.mask.astype(int) - here(on_cpu, Profile(), rgb, 256))
        assert (apart > 8).mean() < 0.05
    on_gpu.close()
