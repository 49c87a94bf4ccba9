"""Conjugate gradients for alpha, with a two-level preconditioner."""

import math
import time
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.imaging.masks import Pixels, max_level
from worker.imaging.matting.closed_form.coarse_grid import CoarseGrid
from worker.imaging.matting.closed_form.laplacian import Laplacian, Vector

_TOLERANCE: Final = 1 / 16_384
"""Largest estimated error of alpha, at any pixel, at which the iteration stops. The estimate is too
low for smooth errors: these can be larger."""
_EXACT_TOLERANCE: Final = 1e-6
"""The tolerance if foreground colours are estimated from alpha. Where alpha is almost 0 it hardly
determines them: with `_TOLERANCE`, whole skies differ in colour from those of pymatting's alpha."""
_MAX_ITERATIONS: Final = 2_000
_MARGIN: Final = 2
"""Pixels around the unknown ones that share a window with them."""


class Solution(NamedTuple):
    """Alpha, and how it was reached."""

    alpha: NDArray[np.float64]
    """(H, W) in 0…1."""
    error: float
    """Largest estimated error of alpha at any unknown pixel; not finite if the solver diverged."""
    iterations: int
    seconds: float


def solve(
    rgb: Pixels,
    trimap: NDArray[np.uint8],
    *,
    start: Pixels | None = None,
    seconds: float = math.inf,
    exact: bool = False,
) -> Solution:
    """Solve for the alpha of a trimap's unknown pixels, of which there must be one or more.

    The parameters are those of `closed_form_alpha`; `exact` selects the smaller tolerance and the
    rounding of pymatting. The iteration ends when the estimated error is below the tolerance, after
    `seconds`, after 2,000 iterations, or when numbers are no longer finite, and returns the alpha
    reached by then.
    """
    began, tolerance = time.monotonic(), _EXACT_TOLERANCE if exact else _TOLERANCE
    unknown = trimap == 128
    part = _bounds(unknown)
    laplacian = Laplacian(rgb[part], trimap[part], as_pymatting=exact)
    coarse_grid = CoarseGrid(laplacian)

    def precondition(residual: Vector) -> Vector:
        correction = laplacian.gauss_seidel(residual)
        coarse_grid.correct(residual, correction)
        return correction

    x = np.zeros_like(laplacian.rhs) if start is None else start[unknown] / float(max_level(start))
    residual = laplacian.rhs - laplacian.multiply(x)[0]
    correction = precondition(residual)
    direction, energy = correction.copy(), float(residual @ correction)
    # The preconditioner is close enough to the inverse for its correction to estimate the error.
    iterations, error = 0, float(np.abs(correction).max())
    while error > tolerance and iterations < _MAX_ITERATIONS and time.monotonic() - began < seconds:
        product, curvature = laplacian.multiply(direction)
        step = energy / curvature
        x += step * direction
        residual -= step * product
        correction = precondition(residual)
        previous_energy, energy = energy, float(residual @ correction)
        direction *= energy / previous_energy
        direction += correction
        iterations, error = iterations + 1, float(np.abs(correction).max())
    alpha = (trimap == 255).astype(np.float64)
    alpha[unknown] = np.clip(x, 0, 1)
    return Solution(alpha, error, iterations, time.monotonic() - began)


def _bounds(unknown: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and columns of the unknown pixels and those that share a window with them."""

    def span(occupied: NDArray[np.bool_]) -> slice:
        indices = np.flatnonzero(occupied)
        return slice(max(int(indices[0]) - _MARGIN, 0), int(indices[-1]) + _MARGIN + 1)

    return span(np.asarray(unknown.any(axis=1))), span(np.asarray(unknown.any(axis=0)))
