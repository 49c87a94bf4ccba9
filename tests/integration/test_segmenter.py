"""Preprocessing and masks on the device, with the real models."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from tests.support.device_models import mask_on_host, masks_on_device, photographs
from worker.models.engines import gpu
from worker.models.engines.load import make_loader
from worker.models.engines.onnx.engine import OnnxEngine
from worker.models.engines.onnx.load import load_onnx_engine
from worker.models.engines.onnx.providers import CUDA, TENSORRT
from worker.models.engines.torch import engine as torch_engine
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelStore


def test_torch_makes_the_same_masks(isnet_pth: Path) -> None:
    """Photographs of several sizes in a batch, through ISNet at a small input size."""
    engine = torch_engine.load_torch_engine(isnet_pth, device="cpu", threads=0, max_batch=4)
    assert engine.segmenter is None
    images = photographs()[:3]
    for profile in (Profile(), Profile(stretch=False, channels="bgr")):
        device_masks = masks_on_device(engine.build_segmenter(), profile, images, 128)
        for rgb, device_mask in zip(images, device_masks, strict=True):
            expected = mask_on_host(engine, profile, rgb, 128)
            assert device_mask.is_finite
            assert device_mask.mask.shape == expected.shape
            apart = np.abs(device_mask.mask.astype(int) - expected)
            assert apart.mean() < 1
            assert (apart > 4).mean() < 0.02


def test_a_real_onnx_model_makes_the_same_mask(store: ModelStore, tmp_path: Path) -> None:
    file = store.resolve("u2netp")
    engine = load_onnx_engine(file, device="cpu", threads=0, file_cache=FileCache(tmp_path))
    segmenter = engine.build_segmenter()
    assert segmenter is not None
    rgb = np.asarray(Image.fromarray(skimage.data.coffee()).resize((1500, 1100)))
    (device_mask,) = masks_on_device(segmenter, file.profile, [rgb], 320)
    expected = mask_on_host(engine, file.profile, rgb, 320)
    apart = np.abs(device_mask.mask.astype(int) - expected)
    # Host and device round the resized image differently, which changes the map in some places.
    assert (apart > 2).mean() < 1e-3
    assert (apart > 0).mean() < 0.05


def cuda_starts() -> bool:
    return gpu.unavailable_reason(gpu.onnxruntime_facts()) is None


@pytest.mark.skipif(not cuda_starts(), reason="needs a CUDA device and ONNX Runtime for it")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("tensorrt", [False, True])
def test_the_real_model_on_a_gpu(tensorrt: bool, store: ModelStore, tmp_path: Path) -> None:
    if tensorrt and (reason := gpu.tensorrt_unavailable_reason()):
        pytest.skip(reason)
    file = store.resolve("isnet-general-use")
    load = make_loader(threads=0, file_cache=FileCache(tmp_path), batch=4, tensorrt=tensorrt)
    on_gpu, on_cpu = load(file, "cuda"), load(file, "cpu")
    assert on_gpu.facts.provider == (TENSORRT if tensorrt else CUDA)
    assert on_gpu.facts.device == "cuda:0"
    assert on_gpu.segmenter is not None
    assert isinstance(on_cpu, OnnxEngine)
    images = photographs()[:3]
    device_masks = masks_on_device(on_gpu.segmenter, file.profile, images, 1024)
    for rgb, device_mask in zip(images, device_masks, strict=True):
        apart = np.abs(device_mask.mask.astype(int) - mask_on_host(on_cpu, file.profile, rgb, 1024))
        # Half precision changes the mask slightly.
        assert (apart > 8).mean() < 0.02
    on_gpu.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_torch_on_a_gpu(isnet_pth: Path) -> None:
    on_gpu = torch_engine.load_torch_engine(isnet_pth, device="cuda", threads=0, max_batch=4)
    on_cpu = torch_engine.load_torch_engine(isnet_pth, device="cpu", threads=0)
    assert on_gpu.segmenter is not None
    images = photographs()[:3]
    device_masks = masks_on_device(on_gpu.segmenter, Profile(), images, 256)
    for rgb, device_mask in zip(images, device_masks, strict=True):
        apart = np.abs(device_mask.mask.astype(int) - mask_on_host(on_cpu, Profile(), rgb, 256))
        assert (apart > 8).mean() < 0.05
    on_gpu.close()
