"""Cut-out, background and crop."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from worker import compose
from worker.mask import at_depth

RANDOM = np.random.default_rng(2)
RGB = RANDOM.integers(0, 256, (5, 6, 3), np.uint8)
ALPHA = RANDOM.integers(0, 256, (5, 6), np.uint8)


def test_a_straight_cut_out_keeps_its_colours() -> None:
    rgba = compose.straight(RGB, ALPHA)
    assert np.array_equal(rgba[:, :, :3], RGB)
    assert np.array_equal(rgba[:, :, 3], ALPHA)


@pytest.mark.parametrize("source", [None, RANDOM.integers(0, 256, (5, 6), np.uint8)])
def test_a_darkened_cut_out_is_pillow_s_composite(source: NDArray[np.uint8] | None) -> None:
    whole = Image.fromarray(compose.unchanged(RGB, source))
    empty = Image.new("RGBA", whole.size, 0)
    theirs = np.asarray(Image.composite(whole, empty, Image.fromarray(ALPHA)))
    assert np.array_equal(compose.darkened(RGB, ALPHA, source), theirs)


@pytest.mark.parametrize("colour", ["#ffffff", "#10804000", "#10804099", "#102030FF"])
def test_a_background_is_pillow_s_alpha_composite(colour: str) -> None:
    rgba = compose.straight(RGB, ALPHA)
    numbers = compose.parse_colour(colour)
    behind = Image.new("RGBA", (6, 5), numbers)
    theirs = np.asarray(Image.alpha_composite(behind, Image.fromarray(rgba))).astype(int)
    ours = compose.over(rgba, numbers)
    seen = theirs[:, :, 3] > 8
    assert np.abs(ours[:, :, 3] - theirs[:, :, 3]).max() <= 1
    assert np.abs(ours[seen] - theirs[seen]).max() <= 2
    wide = compose.over(at_depth(rgba, np.uint16), numbers)
    assert np.abs(wide / 257 - ours)[seen].max() < 1


def test_colours_are_read() -> None:
    assert compose.parse_colour("#0080fF") == (0, 128, 255, 255)
    assert compose.parse_colour("#0080fF10") == (0, 128, 255, 16)


@pytest.mark.parametrize(
    ("margin", "box"),
    [
        ("0", (10, 20, 50, 40)),
        ("3", (7, 17, 53, 43)),
        ("10%", (6, 16, 54, 44)),
        ("12.5%", (5, 15, 55, 45)),
        ("500", (0, 0, 100, 60)),
        ("100%", (0, 0, 90, 60)),
    ],
)
def test_a_crop_leaves_a_margin_within_the_picture(
    margin: str, box: tuple[int, int, int, int]
) -> None:
    found = np.zeros((60, 100), np.uint8)
    found[20:40, 10:50] = 255
    found[59, 99] = 3  # The noise of a soft mask is no subject.
    assert compose.crop_box(found, margin) == box
    assert compose.crop_box(at_depth(found, np.uint16), margin) == box
    left, upper, right, lower = box
    assert np.array_equal(compose.cropped(found, box), found[upper:lower, left:right])


def test_without_a_subject_nothing_is_cropped() -> None:
    empty = np.zeros((6, 8), np.uint8)
    assert compose.crop_box(empty, "5%") is None
    assert compose.cropped(empty, None) is empty
