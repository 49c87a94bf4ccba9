"""The maths between picture, model and cut-out."""

import numpy as np
import pytest

from worker import mask


def test_input_is_scaled_then_normalised_by_channel() -> None:
    rgb = np.zeros((10, 20, 3), np.uint8)
    rgb[:, :, 0], rgb[:, :, 1] = 255, 51
    batch = mask.to_input(rgb, size=(8, 4), mean=(0.5, 0.2, 0.1), std=(1.0, 0.5, 2.0))
    assert batch.shape == (1, 3, 4, 8)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    assert batch[0, :, 0, 0] == pytest.approx([0.5, 0.0, -0.05])


def test_one_number_serves_the_three_channels() -> None:
    rgb = np.full((4, 4, 3), 255, np.uint8)
    one = mask.to_input(rgb, size=(4, 4), mean=0.5, std=2.0)
    assert np.array_equal(one, mask.to_input(rgb, size=(4, 4), mean=(0.5,) * 3, std=(2.0,) * 3))
    assert one.flatten() == pytest.approx(0.25)


def test_stretch_reaches_both_ends() -> None:
    stretched = mask.stretch(np.array([[0.2, 0.5], [0.6, 0.8]], np.float32))
    assert stretched.flatten() == pytest.approx([0, 0.5, 2 / 3, 1])


@pytest.mark.parametrize("level", [0.0, 0.3, 0.5, 1.0, float("nan"), float("inf")])
def test_a_flat_or_broken_map_is_no_foreground(level: float) -> None:
    flat = np.full((4, 4), level, np.float32)
    assert not mask.stretch(flat).any()


def test_faint_noise_is_not_stretched_into_a_subject() -> None:
    noise = np.random.default_rng(1).random((16, 16)).astype(np.float32) * 0.2
    assert not mask.stretch(noise).any()


def test_resizing_stays_between_0_and_1() -> None:
    step = np.zeros((16, 16), np.float32)
    step[:, 8:] = 1
    resized = mask.to_size(step, (100, 60))
    assert resized.shape == (60, 100)
    assert resized.dtype == np.float32
    assert (resized.min(), resized.max()) == (0, 1)


def test_one_pixel_wide() -> None:
    step = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    assert mask.to_size(step, (1, 300)).shape == (300, 1)
    assert mask.to_input(np.zeros((300, 1, 3), np.uint8), size=(32, 32), mean=0, std=1).shape == (
        *(1, 3, 32, 32),
    )


def test_soft_levels_are_floored() -> None:
    levels = mask.to_mask(np.array([[0, 0.5, 0.999, 1]], np.float32), threshold=None)
    assert levels.tolist() == [[0, 127, 254, 255]]


def test_the_threshold_is_strict() -> None:
    levels = np.arange(256, dtype=np.float32).reshape(1, 256) / np.float32(255)
    binary = mask.to_mask(levels, threshold=128 / 255)
    assert binary[0, 128] == 0
    assert binary[0, 129] == 255
    assert set(np.unique(binary)) == {0, 255}
    assert not mask.to_mask(levels, threshold=1.0).any()
    assert mask.to_mask(levels, threshold=0.0).sum() == 255 * 255


def test_what_was_transparent_stays_transparent() -> None:
    found = np.array([[255, 255, 128, 0]], np.uint8)
    alpha = np.array([[255, 0, 128, 255]], np.uint8)
    assert mask.combine(found, alpha).tolist() == [[255, 0, 64, 0]]
    assert mask.combine(found, None) is found


def test_transparent_pixels_look_white_to_the_model() -> None:
    rgb = np.array([[[10, 20, 30], [10, 20, 30], [0, 0, 0]]], np.uint8)
    alpha = np.array([[255, 0, 51]], np.uint8)
    assert mask.over_white(rgb, alpha).tolist() == [[[10, 20, 30], [255] * 3, [204] * 3]]


def test_a_cut_out_keeps_its_colours_straight() -> None:
    rgb = np.random.default_rng(2).integers(0, 256, (5, 6, 3), np.uint8)
    alpha = np.random.default_rng(3).integers(0, 256, (5, 6), np.uint8)
    rgba = mask.cut_out(rgb, alpha)
    assert rgba.shape == (5, 6, 4)
    assert np.array_equal(rgba[:, :, :3], rgb)
    assert np.array_equal(rgba[:, :, 3], alpha)


def test_extent() -> None:
    found = np.zeros((10, 20), np.uint8)
    assert mask.extent(found) == (0.0, None)
    found[2:4, 5:15] = 255
    share, box = mask.extent(found)
    assert share == pytest.approx(0.1)
    assert box == (5, 2, 15, 4)
    found[9, 19] = 1
    assert mask.extent(found).box == (5, 2, 20, 10)
