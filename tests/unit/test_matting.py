"""Trimaps and alpha against known answers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from worker.imaging.masks import to_depth
from worker.imaging.matting.alpha import MattingImpossible, closed_form_alpha
from worker.imaging.matting.trimap import erosion_side, trimap_from_mask


def disc(blur: float) -> NDArray[np.float64]:
    y, x = np.mgrid[0:120, 0:160]
    shape = ((x - 80) ** 2 + (y - 60) ** 2 < 40**2).astype(float)
    smooth: NDArray[np.float64] = ndimage.gaussian_filter(shape, blur)
    return smooth


def blended(alpha: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return an orange disc on blue."""
    weight = alpha[:, :, np.newaxis]
    colour = weight * np.array((230, 140, 30)) + (1 - weight) * np.array((20, 60, 220))
    return np.asarray(np.rint(colour), np.uint8)


def levels(alpha: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(alpha * 255).astype(np.uint8)


def test_a_trimap_is_sure_inside_and_outside() -> None:
    trimap = trimap_from_mask(
        levels(disc(2)), foreground_threshold=240, background_threshold=20, erode_size=10
    )
    assert set(np.unique(trimap)) == {0, 128, 255}
    assert (trimap[60, 80], trimap[0, 0], trimap[60, 40]) == (255, 0, 128)
    narrow = trimap_from_mask(
        levels(disc(2)), foreground_threshold=240, background_threshold=20, erode_size=0
    )
    assert (narrow == 128).sum() < (trimap == 128).sum()


@pytest.mark.parametrize("size", [1, 2, 3, 10, 11, 60])
@pytest.mark.parametrize("outside", [False, True])
def test_erosion_along_both_axes_equals_erosion_by_the_square(size: int, outside: bool) -> None:
    area = np.random.default_rng(9).random((70, 90)) > 0.02
    square = ndimage.binary_erosion(area, np.ones((size, size)), border_value=outside)
    levels = np.where(area, 255, 0).astype(np.uint8)
    trimap = trimap_from_mask(
        255 - levels if outside else levels,
        foreground_threshold=240,
        background_threshold=20,
        erode_size=size,
    )
    assert np.array_equal(trimap == (0 if outside else 255), square)


@pytest.mark.parametrize(
    ("erode_size", "size", "side"),
    [
        (0, (6000, 4000), 0),
        (10, (60, 40), 10),
        (255, (6000, 4000), 255),
        ("1%", (1000, 1000), 10),
        ("1%", (4000, 250), 10),
        ("1%", (6000, 4000), 49),
        ("2.5%", (1000, 1000), 25),
        ("25%", (10_000, 10_000), 2500),
        # At least one pixel on each side of an edge.
        ("1%", (64, 48), 3),
        ("0%", (6000, 4000), 3),
        ("1%", (1, 1), 3),
    ],
)
def test_a_percentage_of_erosion_follows_the_picture_s_size(
    erode_size: int | str, size: tuple[int, int], side: int
) -> None:
    assert erosion_side(erode_size, size) == side


@pytest.mark.parametrize("scale", [1, 4, 16])
def test_a_percentage_leaves_the_same_share_unknown_at_every_size(scale: int) -> None:
    mask = np.kron(levels(disc(2)), np.ones((scale, scale), np.uint8))
    trimap = trimap_from_mask(
        mask,
        foreground_threshold=240,
        background_threshold=20,
        erode_size=erosion_side("5%", mask.shape[::-1]),
    )
    assert (trimap == 128).mean() == pytest.approx(0.19, abs=0.02)


def test_erosion_beyond_the_picture_s_sides_leaves_nothing_sure() -> None:
    mask = np.full((3, 300), 255, np.uint8)
    side = erosion_side("25%", (300, 3))
    trimap = trimap_from_mask(
        mask, foreground_threshold=240, background_threshold=20, erode_size=side
    )
    assert (side, set(np.unique(trimap))) == (8, {128})


def test_a_trimap_that_pymatting_cannot_solve_is_solved() -> None:
    mask = np.zeros((120, 160), np.uint8)
    mask[10:40, 10:40] = 255
    mask[70:100, 90:140] = 100
    trimap = trimap_from_mask(mask, foreground_threshold=240, background_threshold=20, erode_size=1)
    rgb = np.random.default_rng(9).integers(0, 256, (120, 160, 3), np.uint8)
    alpha, warning = closed_form_alpha(rgb, trimap)
    assert warning is None
    # An unknown area that no window connects to foreground is background.
    assert alpha[75:95, 95:135].max() < 0.01
    assert np.array_equal(alpha[trimap != 128], trimap[trimap != 128] / 255)


def test_matting_that_reaches_its_time_limit_returns_a_warning() -> None:
    alpha = disc(4)
    trimap = np.full(alpha.shape, 128, np.uint8)
    trimap[alpha > 0.99], trimap[alpha < 0.01] = 255, 0
    start = np.full_like(trimap, 128)
    solved, warning = closed_form_alpha(blended(alpha), trimap, start=start, seconds=1e-9)
    assert np.allclose(solved[trimap == 128], 128 / 255)
    assert warning is not None
    assert warning.startswith("stopped after 0.")
    assert "CUTWORK_MATTING_SECONDS" in warning


def test_the_alpha_of_a_blurred_disc_is_found() -> None:
    alpha = disc(4)
    trimap = np.full(alpha.shape, 128, np.uint8)
    trimap[alpha > 0.99], trimap[alpha < 0.01] = 255, 0
    for rgb in (blended(alpha), to_depth(blended(alpha), np.uint16)):
        assert np.abs(closed_form_alpha(rgb, trimap)[0] - alpha).mean() < 0.01


@pytest.mark.parametrize(
    ("level", "sentence"),
    [(0, "expected some sure foreground, found none"), (255, "some sure background, found none")],
)
def test_a_trimap_without_foreground_or_background_is_refused(level: int, sentence: str) -> None:
    trimap = np.full((20, 20), level, np.uint8)
    with pytest.raises(MattingImpossible, match=sentence):
        closed_form_alpha(np.zeros((20, 20, 3), np.uint8), trimap)


def test_a_picture_narrower_than_a_window_is_refused() -> None:
    with pytest.raises(MattingImpossible, match="at least 3×3 pixels, found 1×50"):
        closed_form_alpha(np.zeros((50, 1, 3), np.uint8), np.zeros((50, 1), np.uint8))


def test_a_trimap_without_unknown_pixels_is_its_own_alpha() -> None:
    trimap = np.zeros((20, 20), np.uint8)
    trimap[5:15, 5:15] = 255
    alpha, warning = closed_form_alpha(np.zeros((20, 20, 3), np.uint8), trimap)
    assert np.array_equal(alpha, trimap / 255)
    assert warning is None


def test_several_threads_at_once_get_the_same_alpha() -> None:
    alpha = disc(4)
    trimap = np.full(alpha.shape, 128, np.uint8)
    trimap[alpha > 0.99], trimap[alpha < 0.01] = 255, 0
    rgb = blended(alpha)
    expected, _ = closed_form_alpha(rgb, trimap)
    with ThreadPoolExecutor(4) as pool:
        for solved, _ in pool.map(lambda _: closed_form_alpha(rgb, trimap), range(12)):
            assert np.array_equal(solved, expected)
