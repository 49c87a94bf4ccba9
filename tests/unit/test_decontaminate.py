"""The subject's own colour at soft edges, against what is known of it."""

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
    alpha: NDArray[np.float64], subject: NDArray[np.uint8], behind: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    share = alpha[:, :, np.newaxis]
    return np.asarray(np.rint(share * subject + (1 - share) * behind), np.uint8)


def plain(*colour: int) -> NDArray[np.uint8]:
    return np.array(colour, np.uint8)


def test_a_plain_subject_before_a_plain_wall() -> None:
    alpha = disc(120, 160, blur=4)
    rgb, found = blended(alpha, plain(230, 140, 30), plain(20, 60, 220)), levels(alpha)
    clean = decontaminate(rgb, found)
    edge = (found > 25) & (found < 230)
    before, after = (np.abs(item[edge] - plain(230, 140, 30)).mean() for item in (rgb, clean))
    assert after < before / 5
    assert np.array_equal(clean[found == 255], rgb[found == 255])
    assert not clean[0, 0].any()
    # Who resizes the cut-out finds the subject's colour beyond its edge, too.
    assert np.abs(clean[60, 80 + 40 + 20].astype(int) - plain(230, 140, 30)).max() < 12
    wide = decontaminate(to_depth(rgb, np.uint16), to_depth(found, np.uint16))
    assert np.abs(wide / 257 - clean).max() < 1


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "astronaut.png"])
def test_as_near_to_the_truth_as_colours_of_every_pixel(name: str) -> None:
    """A real subject before another picture: its colour under the edge is known."""
    with Image.open(io.BytesIO(photograph(name))) as image:
        subject = np.asarray(image.convert("RGB").resize((1000, 1000)))
    with Image.open(io.BytesIO(photograph("rocket.jpg"))) as image:
        behind = np.asarray(image.convert("RGB").resize((1000, 1000)))
    alpha = disc(1000, 1000, blur=12)
    found, seen = levels(alpha), blended(alpha, subject, behind)
    assert found.size > 5 * LAYER_PIXELS
    edge = (found > 12) & (found < 250)
    front, _ = foreground_and_background(seen, found)

    def off(colours: NDArray[np.uint8]) -> float:
        return float(
            (np.abs(colours.astype(float) - subject) * alpha[:, :, np.newaxis])[edge].mean()
        )

    ours, theirs, nothing = (
        off(np.asarray(decontaminate(seen, found), np.uint8)),
        off(np.rint(front * 255)),
        off(seen),
    )
    assert ours < 1.1 * theirs
    assert ours < nothing / 2


def test_written_where_it_is_wanted() -> None:
    alpha = disc(60, 90, blur=3)
    rgb, found = blended(alpha, plain(9, 200, 90), plain(250, 250, 250)), levels(alpha)
    rgba = np.full((60, 90, 4), 7, np.uint8)
    decontaminate(rgb, found, result=rgba[:, :, :3])
    assert np.array_equal(rgba[:, :, :3], decontaminate(rgb, found))
    assert (rgba[:, :, 3] == 7).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2)])
def test_the_smallest_pictures(shape: tuple[int, int]) -> None:
    rgb = np.full((*shape, 3), 90, np.uint8)
    assert decontaminate(rgb, np.full(shape, 128, np.uint8)).shape == rgb.shape
    assert not decontaminate(rgb, np.zeros(shape, np.uint8)).any()
    assert np.array_equal(decontaminate(rgb, np.full(shape, 255, np.uint8)), rgb)
