"""The two presets against the systems that they reproduce, on the same weights.

`test_the_figures_of_the_presets` uses ISNet. Options that only have to reach the model and the mask
are tested with U²-Net's small model, which takes a fifth of ISNet's time, or at a smaller size.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from producer.contract.options import Options
from tests.support.cutting import cut_alone
from tests.support.originals import ISNetSegment, SegmentationCustom
from tests.support.photographs import Photograph, photograph, photographs
from tests.support.tiny_models import channel_mean
from tests.system.fidelity import BOUNDS, Systems, figures, levels_off
from worker.imaging.png import write_png
from worker.models.engines.load import gpu_unavailable_reason
from worker.models.engines.torch.isnet import network_for
from worker.models.files.store import ModelStore
from worker.pipeline.cutout import CutOut
from worker.pipeline.presets import PRESETS


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systems]:
    systems = Systems(tmp_path_factory.mktemp("systems"))
    yield systems
    systems.models.cache.close()


@pytest.fixture(scope="module")
def small(store: ModelStore) -> Path:
    """Return U²-Net's small model, with an input of 320×320, for preset and original."""
    return store.resolve("u2netp").path


@pytest.fixture(scope="module")
def small_custom(small: Path) -> SegmentationCustom:
    """Return the ONNX original with that model and the node's default values, except the size."""
    return SegmentationCustom(small, size=320)


def cut(systems: Systems, data: bytes, **options: Any) -> tuple[CutOut, Any, Any]:
    """Return a cut-out and its decoded image and mask."""
    chosen = Options.model_validate(options)
    file = systems.store.resolve(chosen.model) if chosen.enabled else None
    cut_out = cut_alone(data, chosen, file=file, models=systems.models)
    assert cut_out.image_bytes is not None
    assert cut_out.mask_bytes is not None
    pixels, mask = (
        np.asarray(Image.open(io.BytesIO(item)))
        for item in (cut_out.image_bytes, cut_out.mask_bytes)
    )
    return cut_out, pixels, mask


# In the second one, most of the unknown area has hardly visible colours.
@pytest.mark.parametrize("name", ["chelsea, half transparent", "rocket, EXIF sideways"])
def test_the_figures_of_the_presets(systems: Systems, name: str) -> None:
    """Measure two photographs; `make fidelity` measures all of them."""
    for figure, value in figures(Photograph(name, photograph(name)), systems):
        assert BOUNDS[figure].holds(value), f"{figure}: {value}"


def test_there_are_at_least_ten_photographs_of_every_kind() -> None:
    opened = [Image.open(io.BytesIO(item.data)) for item in photographs()]
    assert len(opened) >= 10
    assert {image.mode for image in opened} >= {"RGB", "RGBA", "L", "P", "CMYK"}
    assert {image.getexif().get(0x0112, 1) for image in opened} >= {1, 5, 6}
    assert len({image.size for image in opened}) >= 8


def test_isnet_segment_gives_a_binary_mask_and_straight_rgba(systems: Systems) -> None:
    data = photograph("chelsea.png")
    _, pixels, mask = cut(systems, data, preset="isnet-segment", model=str(systems.pth), size=256)
    assert set(np.unique(mask)) == {0, 255}
    original = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(pixels, np.dstack((original, mask)))


@pytest.mark.parametrize("threshold", [0.3, 1.0])
def test_isnet_segment_s_threshold(threshold: float, systems: Systems) -> None:
    given = {"preset": "isnet-segment", "model": str(systems.pth), "threshold": threshold}
    _, _, mask = cut(systems, photograph("coffee, 48×32"), size=256, **given)
    original = ISNetSegment(systems.network, side=256)
    soft = original.soft(np.asarray(Image.open(io.BytesIO(photograph("coffee, 48×32")))))
    assert (mask == original.mask(soft, threshold)).mean() >= 0.9998


def test_isnet_segment_disabled(systems: Systems) -> None:
    data = photograph("chelsea.png")
    cut_out, pixels, mask = cut(systems, data, preset="isnet-segment", enabled=False)
    assert cut_out.run is None
    assert not mask.any()
    assert np.array_equal(pixels[:, :, :3], np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("mode", ["auto", "prefer_gpu", "cpu"])
def test_isnet_segment_s_device_modes(mode: str, systems: Systems) -> None:
    given = {"preset": "isnet-segment", "model": str(systems.pth), "device_mode": mode}
    cut_out, _, _ = cut(systems, photograph("coffee, 48×32"), size=64, **given)
    assert cut_out.run is not None
    assert cut_out.run.engine.startswith("torch")
    reason = gpu_unavailable_reason(".pth")
    if mode == "cpu" or reason is not None:
        assert cut_out.run.device == "cpu"
    else:
        assert cut_out.run.device == "cuda:0"
    # Without a GPU, `auto` and `prefer_gpu` record the reason; only `prefer_gpu` warns.
    assert cut_out.run.fallback == (reason.code if reason and mode != "cpu" else None)
    assert bool(cut_out.warnings) == (reason is not None and mode == "prefer_gpu")


def test_isnet_segment_with_the_catalogue_s_model(systems: Systems) -> None:
    data = photograph("chelsea.png")
    _, _, mask = cut(systems, data, preset="isnet-segment")
    soft = systems.isnet_segment.soft(np.asarray(Image.open(io.BytesIO(data))))
    assert (mask == systems.isnet_segment.mask(soft, 0.5)).mean() >= 0.9998


def test_isnet_segment_with_a_base_checkpoint(systems: Systems, tmp_path: Path) -> None:
    import torch

    state = torch.load(systems.pth, weights_only=True)
    others = ("side2.", "side3.", "side4.", "side5.", "side6.")
    base = {name: value for name, value in state.items() if not name.startswith(others)}
    torch.save(base, tmp_path / "base.pth")
    data = photograph("coffee, 48×32")
    given = {"preset": "isnet-segment", "model": str(tmp_path / "base.pth")}
    _, _, mask = cut(systems, data, size=256, **given)
    original = ISNetSegment(network_for(base), side=256)
    soft = original.soft(np.asarray(Image.open(io.BytesIO(data))))
    assert (mask == original.mask(soft, 0.5)).mean() >= 0.9998


def test_segmentation_custom_with_mean_std_and_size(systems: Systems, small: Path) -> None:
    """mean and std are given per channel, as in the node's Advanced form."""
    data = photograph("chelsea.png")
    mean, std = (0.485, 0.456, 0.406), (0.9, 1.0, 1.1)
    _, pixels, mask = cut(
        systems,
        data,
        preset="segmentation-custom",
        model=str(small),
        mean=list(mean),
        std=list(std),
        size=[320, 320],
        post_process_mask=True,
        background="#10804099",
    )
    theirs = SegmentationCustom(small, mean=mean, std=std, size=(320, 320))
    upright = Image.open(io.BytesIO(data))
    only = theirs.remove(upright, only_mask=True, post_process_mask=True)
    assert levels_off(mask, only) <= 1
    whole = theirs.remove(upright, post_process_mask=True, bgcolor=(0x10, 0x80, 0x40, 0x99))
    assert levels_off(pixels, whole) <= 1


@pytest.mark.parametrize("figures", [{"mean": 0.3}, {"std": 0.5}, {"size": 96}])
def test_segmentation_custom_with_one_number_each(
    figures: dict[str, Any], systems: Systems, tmp_path: Path
) -> None:
    model = channel_mean(tmp_path / "own.onnx", axes=("n", 3, "h", "w"))
    data = photograph("chelsea.png")
    _, _, mask = cut(systems, data, preset="segmentation-custom", model=str(model), **figures)
    upright = Image.open(io.BytesIO(data))
    theirs = SegmentationCustom(model, **figures).remove(upright, only_mask=True)
    assert levels_off(mask, theirs) <= 1


def test_segmentation_custom_with_only_a_mask(
    systems: Systems, small: Path, small_custom: SegmentationCustom
) -> None:
    data = photograph("coffee, 48×32")
    options = Options(
        preset="segmentation-custom", model=str(small), size=320, post_process_mask=True
    )
    file = systems.store.resolve(options.model)
    cut_out = cut_alone(data, options, file=file, models=systems.models, want_image=False)
    assert cut_out.image_bytes is None
    theirs = small_custom.remove(
        Image.open(io.BytesIO(data)), only_mask=True, post_process_mask=True
    )
    assert levels_off(np.asarray(cut_out.mask, np.uint8), theirs) <= 1


def test_impossible_matting_equals_rembg_and_gives_a_warning(
    systems: Systems, small: Path, small_custom: SegmentationCustom
) -> None:
    data = photograph("coffee, 48×32")  # Eroded by 40 pixels, it has no sure foreground.
    matting = {"alpha_matting": True, "alpha_matting_erode_size": 40}
    given = {"preset": "segmentation-custom", "model": str(small), "size": 320}
    cut_out, pixels, _ = cut(systems, data, **given, **matting)
    theirs = small_custom.remove(Image.open(io.BytesIO(data)), **matting)
    assert (np.abs(pixels.astype(int) - theirs) <= 2).all(axis=2).mean() >= 0.995
    assert cut_out.warnings[0].startswith("alpha_matting: not done, expected some sure foreground")


def test_segmentation_custom_with_a_width_other_than_the_height(
    systems: Systems, tmp_path: Path
) -> None:
    """Use a model for any size, and a half-precision copy that the node cannot run."""
    model = channel_mean(tmp_path / "own.onnx", axes=("n", 3, "h", "w"))
    data = photograph("chelsea.png")
    given: dict[str, Any] = {"preset": "segmentation-custom", "size": [96, 64]}
    _, _, mask = cut(systems, data, model=str(model), **given)
    theirs = SegmentationCustom(model, size=(96, 64)).remove(
        Image.open(io.BytesIO(data)), only_mask=True
    )
    assert levels_off(mask, theirs) <= 1
    half = channel_mean(
        tmp_path / "half.onnx", axes=("n", 3, "h", "w"), dtype=onnx.TensorProto.FLOAT16
    )
    assert levels_off(cut(systems, data, model=str(half), **given)[2], theirs) <= 1


@pytest.mark.parametrize(("foreground", "background", "erode"), [(200, 60, 0)])
def test_segmentation_custom_s_matting_options(
    foreground: int,
    background: int,
    erode: int,
    systems: Systems,
    small: Path,
    small_custom: SegmentationCustom,
) -> None:
    given = {
        "alpha_matting": True,
        "alpha_matting_foreground_threshold": foreground,
        "alpha_matting_background_threshold": background,
        "alpha_matting_erode_size": erode,
    }
    data = photograph("chelsea.png")
    options = {"preset": "segmentation-custom", "model": str(small), "size": 320, **given}
    cut_out, pixels, mask = cut(systems, data, **options)
    assert cut_out.warnings == ()
    upright = Image.open(io.BytesIO(data))
    theirs = small_custom.remove(upright, **given)
    assert (np.abs(pixels.astype(int) - theirs) <= 2).all(axis=2).mean() >= 0.995
    # The node returns the model's mask, not the matted one.
    assert levels_off(mask, small_custom.remove(upright, only_mask=True)) <= 1


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_flat_picture_gives_a_valid_mask_in_every_preset(
    preset: str, systems: Systems, small: Path, small_custom: SegmentationCustom
) -> None:
    """The originals divide by the maximum of a black picture, 0, and by the range of a flat map."""
    flat = np.zeros((30, 40, 3), np.uint8)
    model = (systems.pth, 256) if preset == "isnet-segment" else (small, 320)
    given = {"preset": preset, "model": str(model[0]), "size": model[1]}
    _, pixels, mask = cut(systems, write_png(flat, icc_profile=None, dpi=None), **given)
    assert pixels.shape == (30, 40, 4)
    if preset == "default":
        assert not mask.any()
        assert not pixels.any()
    elif preset == "isnet-segment":
        original = ISNetSegment(systems.network, side=256)
        assert (mask == original.mask(original.soft(flat), 0.5)).mean() >= 0.9998
        assert np.array_equal(pixels[:, :, :3], flat)
    else:
        upright = Image.fromarray(flat)
        assert levels_off(mask, small_custom.remove(upright, only_mask=True)) <= 1
        assert levels_off(pixels, small_custom.remove(upright)) <= 1


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_saliency_map_without_a_range_is_not_divided(
    preset: str, systems: Systems, tmp_path: Path
) -> None:
    model = channel_mean(tmp_path / "own.onnx", axes=("n", 3, "h", "w"))
    black = write_png(np.zeros((30, 40, 3), np.uint8), icc_profile=None, dpi=None)
    _, _, mask = cut(systems, black, preset=preset, model=str(model), size=32)
    assert not mask.any()
