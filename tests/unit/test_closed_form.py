"""Closed-form matting against pymatting's, on photographs and on extreme inputs."""

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
    """Return a photograph, and a trimap whose foreground is a disc in the middle."""
    with Image.open(io.BytesIO(photograph(f"{name}.png"))) as image:
        rgb = np.asarray(image.convert("RGB").resize((side, side)))
    y, x = np.mgrid[0:side, 0:side]
    distance = np.hypot(y - side / 2, x - side / 2) / side
    trimap = np.full((side, side), 128, np.uint8)
    trimap[distance < 0.2], trimap[distance > 0.35] = 255, 0
    return rgb, trimap


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_alpha_equals_that_of_pymatting(name: str) -> None:
    rgb, trimap = case(name, 240)
    theirs = estimate_alpha_cf(rgb / 255.0, trimap / 255.0)
    for start in (None, trimap):
        ours = solve(rgb, trimap, start=start)
        assert (np.abs(ours.alpha - theirs) <= NEAR).mean() >= 0.995
        assert ours.error <= NEAR
    wide = solve(to_depth(rgb, np.uint16), trimap)
    assert (np.abs(wide.alpha - theirs) <= NEAR).mean() >= 0.995


@pytest.mark.parametrize("tint", [(1, 1, 1), (1, 0.84, 0.62)])
def test_alpha_of_colours_on_a_line_follows_a_step(tint: tuple[float, float, float]) -> None:
    """The covariance of the colours of a grey or sepia picture has rank one."""
    step = np.repeat(np.where(np.arange(80) < 40, 20, 230)[np.newaxis], 60, axis=0)
    rgb = np.rint(step[:, :, np.newaxis] * np.array(tint)).astype(np.uint8)
    trimap = np.full((60, 80), 128, np.uint8)
    trimap[:, :10], trimap[:, -10:] = 0, 255
    solution = solve(rgb, trimap)
    assert solution.error <= NEAR
    assert np.abs(solution.alpha - (step > 100)).max() < 0.01


def test_black_script_on_sepia_is_solved() -> None:
    script = np.random.default_rng(4).random((120, 150)) < 0.2
    rgb = np.rint(np.where(script, 0, 255)[:, :, np.newaxis] * np.array((1, 0.84, 0.62)))
    y, x = np.mgrid[:120, :150]
    distance = np.hypot(y - 60, x - 75)
    trimap = np.full((120, 150), 128, np.uint8)
    trimap[distance < 25], trimap[distance > 50] = 255, 0
    solution = solve(rgb.astype(np.uint8), trimap)
    assert solution.error <= NEAR
    assert solution.iterations < 1500


def test_thin_lines_have_no_more_than_the_maximum_of_tiles() -> None:
    trimap = np.zeros((1200, 1200), np.uint8)
    trimap[::8], trimap[:, ::8] = 128, 128
    trimap[600:700, 600:700] = 255
    rgb = np.random.default_rng(5).integers(0, 256, (1200, 1200, 3), np.uint8)
    coarse_grid = CoarseGrid(Laplacian(rgb, trimap))
    assert coarse_grid.count <= MAX_TILES


def test_exact_alpha_of_a_grey_picture_has_the_rounding_of_pymatting() -> None:
    rgb, trimap = case("camera", 200)
    theirs = estimate_alpha_cf(rgb / 255.0, trimap / 255.0)
    assert np.abs(solve(rgb, trimap, exact=True).alpha - theirs).max() < 1e-4


def test_unknown_pixels_at_the_border_are_solved() -> None:
    rgb, trimap = case("coffee", 120)
    trimap[:50], trimap[:, -20:] = 128, 128
    theirs = estimate_alpha_cf(rgb / 255.0, trimap / 255.0)
    assert (np.abs(solve(rgb, trimap).alpha - theirs) <= NEAR).mean() >= 0.995


@pytest.mark.parametrize("shape", [(3, 3), (3, 40), (40, 3), (9, 9)])
def test_the_smallest_pictures_are_solved(shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    trimap = np.full(shape, 128, np.uint8)
    trimap[0, 0], trimap[-1, -1] = 255, 0
    solution = solve(rgb, trimap)
    assert np.isfinite(solution.alpha).all()
    assert (solution.alpha[0, 0], solution.alpha[-1, -1]) == (1, 0)


def test_alpha_of_a_picture_of_one_colour_falls_evenly() -> None:
    rgb = np.full((60, 60, 3), 90, np.uint8)
    trimap = np.full((60, 60), 128, np.uint8)
    trimap[:, :10], trimap[:, -10:] = 255, 0
    alpha = solve(rgb, trimap).alpha
    # Colours do not tell the pixels apart: alpha falls evenly from side to side.
    assert (np.diff(alpha.mean(axis=0)) <= 1e-3).all()
    assert alpha[:, 30].mean() == pytest.approx(0.5, abs=0.02)


def test_separate_unknown_areas_do_not_affect_each_other() -> None:
    rgb, trimap = case("chelsea", 120)
    both = np.zeros((120, 300), np.uint8)
    both[:, :120], both[:, 180:] = trimap, trimap
    wide = np.concatenate((rgb, np.zeros((120, 60, 3), np.uint8), rgb), axis=1)
    alone, together = solve(rgb, trimap).alpha, solve(wide, both).alpha
    assert np.abs(together[:, :120] - alone).max() < NEAR
    assert np.abs(together[:, 180:] - alone).max() < NEAR


def test_the_time_limit_ends_the_iteration_with_the_alpha_reached() -> None:
    rgb, trimap = case("chelsea", 240)
    start = np.where(trimap == 128, 77, trimap)
    solution = solve(rgb, trimap, start=start, seconds=0)
    assert solution.iterations == 0
    assert solution.error > NEAR
    assert np.allclose(solution.alpha, start / 255)


def test_repeated_runs_have_the_same_bits() -> None:
    rgb, trimap = case("astronaut", 400)
    trimap[:200] = np.where(trimap[:200] == 0, 128, trimap[:200])
    first = solve(rgb, trimap).alpha
    # More than one block of pixels, so more than one thread.
    assert (trimap == 128).sum() > 2**16
    assert np.array_equal(first, solve(rgb, trimap).alpha)
