"""Colours of foreground and background, estimated from a picture and its alpha.

pymatting's multi-level estimate: T. Germer et al., "Fast Multi-Level Foreground Estimation", 2020.
"""

import numpy as np
from numpy.typing import NDArray

from worker.imaging.masks import Pixels, max_level
from worker.imaging.matting.kernels import kernels

Float = NDArray[np.float64] | NDArray[np.float32]


def foreground_and_background(rgb: Pixels, alpha: Float) -> tuple[Float, Float]:
    """Return the colours that are mixed where 0 < alpha < 1, both (H, W, 3) in 0…1.

    `rgb` is (H, W, 3) uint8 or uint16, `alpha` (H, W) in 0…1.
    """
    colour = rgb / np.float32(max_level(rgb))
    if max(alpha.shape) < 2:
        return colour, colour
    estimate = kernels().estimate_foreground
    with kernels().lock:
        foreground, background = estimate(colour, alpha, return_background=True)
    return foreground, background
