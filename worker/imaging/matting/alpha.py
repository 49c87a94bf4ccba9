"""Alpha of a trimap's unknown pixels."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.imaging.masks import Pixels
from worker.imaging.matting.kernels import kernels

_TOLERATED_ERROR: Final = 2 / 255
"""Largest estimated error of alpha that does not cause a warning."""


class MattingImpossible(ValueError):
    """The trimap leaves nothing to solve from; the message says what is missing."""


def closed_form_alpha(
    rgb: Pixels,
    trimap: NDArray[np.uint8],
    *,
    start: Pixels | None = None,
    seconds: float = math.inf,
    exact: bool = False,
) -> tuple[NDArray[np.float64], str | None]:
    """Solve for the alpha of a trimap's unknown pixels by closed-form matting.

    Returns the alpha (H, W), float64 in 0…1, and a sentence if the time limit or the iteration
    limit was reached. Raises `MattingImpossible` if a side is below 3 pixels, if the trimap lacks
    sure foreground or sure background, or if the iteration diverged.

    Parameters
    ----------
    rgb : (H, W, 3) uint8 or uint16
        The picture.
    trimap : (H, W) uint8
        255 is sure foreground, 0 is sure background, 128 is unknown.
    start : (H, W) uint8 or uint16, optional
        Mask from which the iteration starts; the closer to the solution, the fewer iterations.
    seconds : float
        Time limit, after which the iteration stops with the alpha reached so far.
    exact : bool
        Solve precisely enough to estimate foreground colours from alpha, not only for its levels.
    """
    if min(trimap.shape) < 3:
        height, width = trimap.shape
        raise MattingImpossible(f"expected at least 3×3 pixels, found {width}×{height}")
    for level, name in ((255, "foreground"), (0, "background")):
        if not (trimap == level).any():
            raise MattingImpossible(f"expected some sure {name}, found none")
    if not (trimap == 128).any():
        return trimap / 255.0, None
    solution = kernels().solve(rgb, trimap, start=start, seconds=seconds, exact=exact)
    if not math.isfinite(solution.error):
        raise MattingImpossible("no solution was found")
    if solution.error <= _TOLERATED_ERROR:
        return solution.alpha, None
    return solution.alpha, (
        f"stopped after {solution.seconds:.1f} s and {solution.iterations} iterations "
        f"(CUTWORK_MATTING_SECONDS is {seconds:g}); levels may be off by "
        f"{255 * solution.error:.0f} or more"
    )
