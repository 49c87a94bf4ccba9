"""Alpha from equations: conjugate gradients with two levels."""

import math
import time
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.imaging.masks import Pixels, peak
from worker.imaging.matting.closed_form.cells import Cells
from worker.imaging.matting.closed_form.laplacian import Laplacian, Vector

_NEAR: Final = 1 / 16_384
"""How far alpha may seem to lie from the solution, anywhere; what is smooth lies further off."""
_NEARER: Final = 1e-6
"""The same, where the foreground's colour is told by alpha, and not by its levels.

Where alpha is nearly nothing, so is what tells the colour: with `_NEAR` whole skies have another
one than from pymatting's alpha.
"""
_MOST_STEPS: Final = 2_000
_AROUND: Final = 2
"""Pixels around the unknown ones that have a say."""


class Solution(NamedTuple):
    """What was found."""

    alpha: NDArray[np.float64]
    """(H, W) in 0…1."""
    off: float
    """How far alpha seems to lie from the solution, where it does most."""
    steps: int
    seconds: float


def solve(
    rgb: Pixels,
    trimap: NDArray[np.uint8],
    *,
    start: Pixels | None = None,
    seconds: float = math.inf,
    exact: bool = False,
) -> Solution:
    """Alpha of (H, W, 3) pixels, of at least 3×3, where a trimap of 0, 128 and 255 leaves it open.

    `start` is a mask (H, W) to begin with; near the solution it is a shorter way. It ends near the
    solution, `exact` still nearer, and after so many `seconds`, or where numbers end, with what it
    has by then.
    """
    began, enough = time.monotonic(), _NEARER if exact else _NEAR
    unknown = trimap == 128
    part = _around(unknown)
    laplacian = Laplacian(rgb[part], trimap[part], as_pymatting=exact)
    cells = Cells(laplacian)

    def inverse(rest: Vector) -> Vector:
        result = laplacian.sweep(rest)
        cells.correct(rest, result)
        return result

    x = np.zeros_like(laplacian.known) if start is None else start[unknown] / float(peak(start))
    rest = laplacian.known - laplacian.times(x)[0]
    guess = inverse(rest)
    way, size = guess.copy(), float(rest @ guess)
    # The inverse is near enough for its guess at what is missing to be about that much.
    steps, off = 0, float(np.abs(guess).max())
    while off > enough and steps < _MOST_STEPS and time.monotonic() - began < seconds:
        pushed, inner = laplacian.times(way)
        share = size / inner
        x += share * way
        rest -= share * pushed
        guess = inverse(rest)
        before, size = size, float(rest @ guess)
        way *= size / before
        way += guess
        steps, off = steps + 1, float(np.abs(guess).max())
    alpha = (trimap == 255).astype(np.float64)
    alpha[unknown] = np.clip(x, 0, 1)
    return Solution(alpha, off, steps, time.monotonic() - began)


def _around(unknown: NDArray[np.bool_]) -> tuple[slice, slice]:
    def span(there: NDArray[np.bool_]) -> slice:
        places = np.flatnonzero(there)
        return slice(max(int(places[0]) - _AROUND, 0), int(places[-1]) + _AROUND + 1)

    return span(np.asarray(unknown.any(axis=1))), span(np.asarray(unknown.any(axis=0)))
