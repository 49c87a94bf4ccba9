"""LANCZOS resampling as a matrix, with which a device resizes by multiplying matrices."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_LOBES: Final = 3
ROUNDING_MARGIN: Final = np.float32(1e-6)
"""What rounding can take from a sum in single precision; added so that 1 gives the full level."""


def lanczos_taps(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the source pixels of each target pixel along one axis, and their weights.

    Both are (target, taps); a row of weights adds up to 1. As in Pillow's `precompute_coeffs`, the
    filter becomes wider where the axis becomes shorter. Pixels beyond the ends have weight 0.
    """
    scale = source / target
    width = max(scale, 1.0)
    centres = (np.arange(target) + 0.5)[:, np.newaxis] * scale
    # One more tap than the filter covers, because it rarely begins at the edge of a pixel.
    taps = np.arange(int(np.ceil(2 * _LOBES * width)) + 1)
    columns = np.floor(centres - _LOBES * width + 0.5).astype(np.int64) + taps
    distances = (columns + 0.5 - centres) / width
    weights = np.sinc(distances) * np.sinc(distances / _LOBES) * (np.abs(distances) < _LOBES)
    weights *= (columns >= 0) & (columns < source)
    return columns, weights / weights.sum(axis=1, keepdims=True)


def lanczos_weights(source: int, target: int) -> NDArray[np.float32]:
    """Return the matrix (target, source), float32, that resizes one axis as Pillow does."""
    columns, weights = lanczos_taps(source, target)
    matrix = np.zeros((target, source), np.float32)
    rows, kept = np.nonzero(weights)
    matrix[rows, columns[rows, kept]] = weights[rows, kept]
    return matrix
