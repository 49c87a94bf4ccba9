"""Colours of foreground and background, estimated from a picture and its alpha.

pymatting's multi-level estimate: T. Germer et al., "Fast Multi-Level Foreground Estimation", 2020.
"""

import numpy as np
from numpy.typing import NDArray

from worker.imaging.masks import Pixels, max_level
from worker.imaging.matting.kernels import kernels

Float = NDArray[np.float64] | NDArray[np.float32]


def foreground_colour(rgb: Pixels, alpha: Float) -> Float:
    """Return the foreground's colour without the background that shows through where alpha < 1.

    `rgb` is (H, W, 3) uint8 or uint16, `alpha` (H, W) in 0…1; the result is (H, W, 3) in 0…1.
    """
    colour = rgb / np.float32(max_level(rgb))
    if max(alpha.shape) < 2:
        return colour
    with kernels().lock:
        foreground: NDArray[np.float32] = kernels().estimate_foreground(colour, alpha)
    return foreground


def foreground_and_background(rgb: Pixels, mask: Pixels) -> tuple[Float, Float]:
    """Return the colours of foreground and background, both (H, W, 3) in 0…1.

    `rgb` is (H, W, 3) and `mask` (H, W), each uint8 or uint16.
    """
    colour, alpha = rgb / np.float32(max_level(rgb)), mask / np.float32(max_level(mask))
    if max(mask.shape) < 2:
        return colour, colour
    with kernels().lock:
        foreground, background = kernels().estimate_foreground(
            colour, alpha, return_background=True
        )
    return foreground, background
