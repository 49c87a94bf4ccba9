"""LANCZOS as a matrix: what makes resizing a product of matrices, on whatever device."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_LOBES: Final = 3
ROUNDING_MARGIN: Final = np.float32(1e-6)
"""What single precision may lack of a sum."""


def lanczos_weights(source: int, target: int) -> NDArray[np.float32]:
    """The weights (target, source), float32, that resize one axis as Pillow does.

    Each row adds up to 1. Where the axis becomes shorter the filter becomes wider by as much, as in
    Pillow's `precompute_coeffs`; beyond the ends there is nothing.
    """
    scale = source / target
    wide = max(scale, 1.0)
    centres = (np.arange(target) + 0.5)[:, np.newaxis] * scale
    # One pixel more than the filter covers: it rarely begins at a pixel's edge.
    taps = np.arange(int(np.ceil(2 * _LOBES * wide)) + 1)
    places = np.floor(centres - _LOBES * wide + 0.5).astype(np.int64) + taps
    away = (places + 0.5 - centres) / wide
    weights = np.sinc(away) * np.sinc(away / _LOBES) * (np.abs(away) < _LOBES)
    weights *= (places >= 0) & (places < source)
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((target, source), np.float32)
    rows, columns = np.nonzero(weights)
    matrix[rows, places[rows, columns]] = weights[rows, columns]
    return matrix
