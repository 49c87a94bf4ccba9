"""Closed-form matting against pymatting's, on photographs and at the borders of what there is."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pymatting import estimate_alpha_cf

from tests.support.photographs import photograph
from worker.imaging.masks import to_depth
from worker.imaging.matting.closed_form import solve
from worker.imaging.matting.closed_form.coarse_grid import MAX_TILES, CoarseGrid
from worker.imaging.matting.closed_form.laplacian import Laplacian

NEAR = 2 / 255


def case(name: str, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A photograph, and a trimap that knows a disc in its middle and what is far from it."""
    with Image.open(io.BytesIO(photograph(f"{name}.png"))) as image:
        rgb = np.asarray(image.convert("RGB").resize((side, side)))
    y, x = np.mgrid[0:side, 0:side]
    way = np.hypot(y - side / 2, x - side / 2) / side
    trimap = np.full((side, side), 128, np.uint8)
    trimap[way < 0.2], trimap[way > 0.35] = 255, 0
    return rgb, trimap


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_the_same_as_pymatting(name: str) -> None:
    rgb, trimap = case(name, 240)
    theirs = estimate_alpha_cf(rgb / 255.0, trimap / 255.0)
    for start in (None, trimap):
        ours = solve(rgb, trimap, start=start)
        assert (np.abs(ours.alpha - theirs) <= NEAR).mean() >= 0.995
        assert ours.error <= NEAR
    deep = solve(to_depth(rgb, np.uint16), trimap)
    assert (np.abs(deep.alpha - theirs) <= NEAR).mean() >= 0.995


@pytest.mark.parametrize("tint", [(1, 1, 1), (1, 0.84, 0.62)])
def test_colours_on_a_line(tint: tuple[float, float, float]) -> None:
    """Grey and sepia: the covariance of three colours has rank one, and alpha follows the step."""
    step = np.repeat(np.where(np.arange(80) < 40, 20, 230)[np.newaxis], 60, axis=0)
    rgb = np.rint(step[:, :, np.newaxis] * np.array(tint)).astype(np.uint8)
    trimap = np.full((60, 80), 128, np.uint8)
    trimap[:, :10], trimap[:, -10:] = 0, 255
    found = solve(rgb, trimap)
    assert found.error <= NEAR
    assert np.abs(found.alpha - (step > 100)).max() < 0.01


def test_black_script_on_sepia_is_solved() -> None:
    script = np.random.default_rng(4).random((120, 150)) < 0.2
    rgb = np.rint(np.where(script, 0, 255)[:, :, np.newaxis] * np.array((1, 0.84, 0.62)))
    y, x = np.mgrid[:120, :150]
    way = np.hypot(y - 60, x - 75)
    trimap = np.full((120, 150), 128, np.uint8)
    trimap[way < 25], trimap[way > 50] = 255, 0
    found = solve(rgb.astype(np.uint8), trimap)
    assert found.error <= NEAR
    assert found.iterations < 1500


def test_thin_lines_take_no_more_cells_than_there_may_be() -> None:
    trimap = np.zeros((1200, 1200), np.uint8)
    trimap[::8], trimap[:, ::8] = 128, 128
    trimap[600:700, 600:700] = 255
    rgb = np.random.default_rng(5).integers(0, 256, (1200, 1200, 3), np.uint8)
    coarse_grid = CoarseGrid(Laplacian(rgb, trimap))
    assert coarse_grid.count <= MAX_TILES


def test_of_a_grey_picture_it_is_pymatting_s_own_rounding_if_that_is_asked_for() -> None:
    rgb, trimap = case("camera", 200)
    theirs = estimate_alpha_cf(rgb / 255.0, trimap / 255.0)
    assert np.abs(solve(rgb, trimap, exact=True).alpha - theirs).max() < 1e-4


def test_unknown_to_the_very_border() -> None:
    rgb, trimap = case("coffee", 120)
    trimap[:50], trimap[:, -20:] = 128, 128
    theirs = estimate_alpha_cf(rgb / 255.0, trimap / 255.0)
    assert (np.abs(solve(rgb, trimap).alpha - theirs) <= NEAR).mean() >= 0.995


@pytest.mark.parametrize("shape", [(3, 3), (3, 40), (40, 3), (9, 9)])
def test_the_smallest(shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    trimap = np.full(shape, 128, np.uint8)
    trimap[0, 0], trimap[-1, -1] = 255, 0
    found = solve(rgb, trimap)
    assert np.isfinite(found.alpha).all()
    assert (found.alpha[0, 0], found.alpha[-1, -1]) == (1, 0)


def test_one_colour_all_over() -> None:
    rgb = np.full((60, 60, 3), 90, np.uint8)
    trimap = np.full((60, 60), 128, np.uint8)
    trimap[:, :10], trimap[:, -10:] = 255, 0
    alpha = solve(rgb, trimap).alpha
    # Nothing tells the pixels apart: from side to side it falls evenly.
    assert (np.diff(alpha.mean(axis=0)) <= 1e-3).all()
    assert alpha[:, 30].mean() == pytest.approx(0.5, abs=0.02)


def test_islands_do_not_know_of_each_other() -> None:
    rgb, trimap = case("chelsea", 120)
    both = np.zeros((120, 300), np.uint8)
    both[:, :120], both[:, 180:] = trimap, trimap
    wide = np.concatenate((rgb, np.zeros((120, 60, 3), np.uint8), rgb), axis=1)
    alone, found = solve(rgb, trimap).alpha, solve(wide, both).alpha
    assert np.abs(found[:, :120] - alone).max() < NEAR
    assert np.abs(found[:, 180:] - alone).max() < NEAR


def test_ends_in_time_with_what_it_has() -> None:
    rgb, trimap = case("chelsea", 240)
    start = np.where(trimap == 128, 77, trimap)
    found = solve(rgb, trimap, start=start, seconds=0)
    assert found.iterations == 0
    assert found.error > NEAR
    assert np.allclose(found.alpha, start / 255)


def test_twice_the_same_bits() -> None:
    rgb, trimap = case("astronaut", 400)
    trimap[:200] = np.where(trimap[:200] == 0, 128, trimap[:200])
    once = solve(rgb, trimap).alpha
    # More than one share of pixels, so more than one thread.
    assert (trimap == 128).sum() > 2**16
    assert np.array_equal(once, solve(rgb, trimap).alpha)
