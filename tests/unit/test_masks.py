"""The input of a model, and masks from its saliency map."""

import numpy as np
import pytest
import torch

from worker.imaging import masks
from worker.pipeline.presets import MapToMask


def test_input_is_scaled_then_normalised_by_channel() -> None:
    rgb = np.zeros((10, 20, 3), np.uint8)
    rgb[:, :, 0], rgb[:, :, 1] = 255, 51
    batch = masks.to_input(rgb, size=(8, 4), mean=(0.5, 0.2, 0.1), std=(1.0, 0.5, 2.0))
    assert batch.shape == (1, 3, 4, 8)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    assert batch[0, :, 0, 0] == pytest.approx([0.5, 0.0, -0.05])


def test_one_number_applies_to_all_channels() -> None:
    rgb = np.full((4, 4, 3), 255, np.uint8)
    normalised = masks.to_input(rgb, size=(4, 4), mean=0.5, std=2.0)
    assert np.array_equal(
        normalised, masks.to_input(rgb, size=(4, 4), mean=(0.5,) * 3, std=(2.0,) * 3)
    )
    assert normalised.flatten() == pytest.approx(0.25)


def test_stretch_reaches_both_ends() -> None:
    stretched = masks.stretch(np.array([[0.2, 0.5], [0.6, 0.8]], np.float32))
    assert stretched.flatten() == pytest.approx([0, 0.5, 2 / 3, 1])


@pytest.mark.parametrize("read", [masks.soft_mask, masks.isnet_mask, masks.rembg_mask])
@pytest.mark.parametrize("level", [0.0, 0.3, 0.5, 1.0])
def test_a_constant_map_gives_an_empty_mask(read: MapToMask, level: float) -> None:
    flat = np.full((4, 4), level, np.float32)
    assert not read(flat, (9, 5), stretched=True, depth=np.uint8).any()


def test_only_the_original_systems_stretch_faint_noise_to_foreground() -> None:
    noise = np.random.default_rng(1).random((16, 16)).astype(np.float32) * np.float32(0.2)
    size = (16, 16)
    assert not masks.soft_mask(noise, size, stretched=True, depth=np.uint8).any()
    assert masks.isnet_mask(noise, size, stretched=True, depth=np.uint8).max() == 255
    assert masks.rembg_mask(noise, size, stretched=True, depth=np.uint8).max() == 255


@pytest.mark.parametrize("read", [masks.soft_mask, masks.isnet_mask, masks.rembg_mask])
@pytest.mark.parametrize("size", [(100, 60), (1, 300), (300, 1), (1, 1)])
def test_a_mask_has_the_picture_s_size(read: MapToMask, size: tuple[int, int]) -> None:
    step = np.zeros((16, 16), np.float32)
    step[:, 8:] = 1
    mask = read(step, size, stretched=True, depth=np.uint8)
    assert mask.shape == size[::-1]
    assert mask.dtype == np.uint8
    if size == (100, 60):
        assert (mask.min(), mask.max()) == (0, 255)


@pytest.mark.parametrize("size", [(40, 30), (1024, 1024), (7, 3), (300, 1), (1, 1), (451, 300)])
@pytest.mark.parametrize("shape", [(30, 40), (300, 451), (1, 1), (1, 9)])
def test_bilinear_resizing_equals_that_of_torch(
    size: tuple[int, int], shape: tuple[int, int]
) -> None:
    source = np.random.default_rng(4).random((*shape, 3), np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(source).permute(2, 0, 1)[None],
        size=size[::-1],
        mode="bilinear",
        align_corners=False,
    )[0].permute(1, 2, 0)
    assert np.abs(masks.resize_bilinear(source, size) - theirs.numpy()).max() < 1e-4


def test_a_black_picture_is_divided_by_one() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    batch = masks.to_input(black, size=(8, 8), mean=0.485, std=1.0, divisor="max")
    assert np.allclose(batch, -0.485)
    dim = masks.to_input(black + np.uint8(51), size=(8, 8), mean=0, std=1, divisor="max")
    assert np.allclose(dim, 1)


def test_channels_can_be_in_reverse_order() -> None:
    rgb = np.random.default_rng(5).integers(0, 256, (6, 4, 3), np.uint8)
    plain = masks.to_input(rgb, size=(4, 6), mean=0, std=1)
    swapped = masks.to_input(rgb, size=(4, 6), mean=0, std=1, channels="bgr")
    assert np.array_equal(plain[0, ::-1], swapped[0])


def test_a_faint_map_gives_an_empty_mask_without_stretching_too() -> None:
    faint = np.full((4, 4), 0.004, np.float32)
    assert not masks.soft_mask(faint, (4, 4), stretched=False, depth=np.uint8).any()
    clear = np.full((4, 4), 0.6, np.float32)
    assert (masks.soft_mask(clear, (4, 4), stretched=False, depth=np.uint8) == 153).all()


def test_a_sigmoid_of_large_logits_does_not_overflow() -> None:
    logits = np.array([[-1e30, -2, 0, 2, 1e30]], np.float32)
    assert masks.sigmoid(logits)[0] == pytest.approx([0, 0.1192, 0.5, 0.8808, 1], abs=1e-4)


def test_levels_are_rounded_down() -> None:
    shares = np.array([[0, 0.5, 0.999, 1]], np.float32)
    mask = masks.isnet_mask(shares, (4, 1), stretched=True, depth=np.uint8)
    assert mask.tolist() == [[0, 127, 254, 255]]
    wide = masks.isnet_mask(shares, (4, 1), stretched=True, depth=np.uint16)
    assert wide.dtype == np.uint16
    assert wide.tolist() == [[0, 32767, 65469, 65535]]


def test_the_threshold_is_strict() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 256)
    binary = masks.binarise(levels, 128 / 255)
    assert binary[0, 128] == 0
    assert binary[0, 129] == 255
    assert set(np.unique(binary)) == {0, 255}
    assert not masks.binarise(levels, 1.0).any()
    assert masks.binarise(levels, 0.0).sum() == 255 * 255
    assert masks.binarise(masks.to_depth(levels, np.uint16), 0.0).max() == 65535


def test_post_processing_drops_specks_and_is_binary() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[5, 5] = 255
    mask[15:35, 15:35] = 255
    smooth = masks.post_process(mask)
    assert set(np.unique(smooth)) == {0, 255}
    assert smooth[5, 5] == 0
    assert smooth[25, 25] == 255
    assert np.array_equal(masks.post_process(masks.to_depth(mask, np.uint16)) > 0, smooth > 0)


def test_transparent_pixels_stay_transparent() -> None:
    mask = np.array([[255, 255, 128, 0]], np.uint8)
    alpha = np.array([[255, 0, 128, 255]], np.uint8)
    assert masks.multiply_alpha(mask, alpha).tolist() == [[255, 0, 64, 0]]
    assert masks.multiply_alpha(mask, None) is mask


def test_transparent_pixels_are_white_for_the_model() -> None:
    rgb = np.array([[[10, 20, 30], [10, 20, 30], [0, 0, 0]]], np.uint8)
    alpha = np.array([[255, 0, 51]], np.uint8)
    assert masks.composite_on_white(rgb, alpha).tolist() == [[[10, 20, 30], [255] * 3, [204] * 3]]


def test_the_bounding_box_holds_the_levels_above_a_limit() -> None:
    mask = np.zeros((10, 20), np.uint8)
    assert masks.bounding_box(mask) is None
    mask[2:4, 5:15] = 255
    assert masks.bounding_box(mask) == (5, 2, 15, 4)
    mask[9, 19] = 1
    assert masks.bounding_box(mask) == (5, 2, 20, 10)
    assert masks.bounding_box(mask, above=1) == (5, 2, 15, 4)
    assert masks.bounding_box(masks.to_depth(mask, np.uint16)) == (5, 2, 20, 10)
