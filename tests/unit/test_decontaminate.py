"""Decontaminated colours against the known colours of composites."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from tests.support.photographs import photograph
from worker.imaging.decontaminate import LAYER_PIXELS, decontaminate
from worker.imaging.masks import to_depth
from worker.imaging.matting.foreground import foreground_and_background


def disc(height: int, width: int, *, blur: float) -> NDArray[np.float64]:
    y, x = np.mgrid[0:height, 0:width]
    shape = (np.hypot(x - width / 2, y - height / 2) < height / 3).astype(float)
    smooth: NDArray[np.float64] = ndimage.gaussian_filter(shape, blur)
    return smooth


def levels(alpha: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(alpha * 255).astype(np.uint8)


def blended(
    alpha: NDArray[np.float64], foreground: NDArray[np.uint8], background: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    weight = alpha[:, :, np.newaxis]
    return np.asarray(np.rint(weight * foreground + (1 - weight) * background), np.uint8)


def plain(*colour: int) -> NDArray[np.uint8]:
    return np.array(colour, np.uint8)


def test_edges_of_a_plain_foreground_on_a_plain_background_get_its_colour() -> None:
    alpha = disc(120, 160, blur=4)
    rgb, mask = blended(alpha, plain(230, 140, 30), plain(20, 60, 220)), levels(alpha)
    clean = decontaminate(rgb, mask)
    edge = (mask > 25) & (mask < 230)
    before, after = (np.abs(item[edge] - plain(230, 140, 30)).mean() for item in (rgb, clean))
    assert after < before / 5
    assert np.array_equal(clean[mask == 255], rgb[mask == 255])
    assert not clean[0, 0].any()
    # Beyond the edge, too: resizing a cut-out mixes in colours from there.
    assert np.abs(clean[60, 80 + 40 + 20].astype(int) - plain(230, 140, 30)).max() < 12
    wide = decontaminate(to_depth(rgb, np.uint16), to_depth(mask, np.uint16))
    assert np.abs(wide / 257 - clean).max() < 1


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "astronaut.png"])
def test_reduced_layers_are_as_accurate_as_an_estimate_of_every_pixel(name: str) -> None:
    """A photograph composited on another one, so that its colour under the edge is known."""
    with Image.open(io.BytesIO(photograph(name))) as image:
        foreground = np.asarray(image.convert("RGB").resize((1000, 1000)))
    with Image.open(io.BytesIO(photograph("rocket.jpg"))) as image:
        background = np.asarray(image.convert("RGB").resize((1000, 1000)))
    alpha = disc(1000, 1000, blur=12)
    mask, composite = levels(alpha), blended(alpha, foreground, background)
    assert mask.size > 5 * LAYER_PIXELS
    edge = (mask > 12) & (mask < 250)
    full_estimate, _ = foreground_and_background(composite, mask / np.float32(255))

    def error(colours: NDArray[np.uint8]) -> float:
        return float(
            (np.abs(colours.astype(float) - foreground) * alpha[:, :, np.newaxis])[edge].mean()
        )

    decontaminated = error(np.asarray(decontaminate(composite, mask), np.uint8))
    assert decontaminated < 1.1 * error(np.rint(full_estimate * 255))
    assert decontaminated < error(composite) / 2


def test_colours_are_written_to_the_given_array() -> None:
    alpha = disc(60, 90, blur=3)
    rgb, mask = blended(alpha, plain(9, 200, 90), plain(250, 250, 250)), levels(alpha)
    rgba = np.full((60, 90, 4), 7, np.uint8)
    decontaminate(rgb, mask, result=rgba[:, :, :3])
    assert np.array_equal(rgba[:, :, :3], decontaminate(rgb, mask))
    assert (rgba[:, :, 3] == 7).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2)])
def test_the_smallest_pictures_are_decontaminated(shape: tuple[int, int]) -> None:
    rgb = np.full((*shape, 3), 90, np.uint8)
    assert decontaminate(rgb, np.full(shape, 128, np.uint8)).shape == rgb.shape
    assert not decontaminate(rgb, np.zeros(shape, np.uint8)).any()
    assert np.array_equal(decontaminate(rgb, np.full(shape, 255, np.uint8)), rgb)
