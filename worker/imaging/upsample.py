"""Maps enlarged to masks, compiled: LANCZOS as Pillow has it, to levels in one go."""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from PIL import Image

from worker.imaging.lanczos import ROUNDING_MARGIN

_TAPS: Final = 6
"""Pixels of a map that a pixel between them is made of: three on either side."""
_OF: Final = "void(f4[:,::1], i8[::1], f4[:,::1], f4, {0}[:,::1])"


def upsample(
    saliency: NDArray[np.float32], size: tuple[int, int], result: NDArray[np.uint8 | np.uint16]
) -> None:
    """Write a map (h, w) of 0…1 as levels to a mask (H, W) that is nowhere smaller."""
    width, height = size
    # Along its rows the map is still small.
    resized = Image.fromarray(saliency).resize((width, len(saliency)), Image.Resampling.LANCZOS)
    places, weights = _weights(saliency.shape[0], height)
    _along_columns(np.array(resized), places, weights, np.iinfo(result.dtype).max, result)


@njit([_OF.format("u1"), _OF.format("u2")], cache=True, nogil=True)
def _along_columns(rows, places, weights, peak, result):  # type: ignore[no-untyped-def]
    last = len(rows) - 1
    total = np.empty(rows.shape[1], np.float32)
    for y in range(len(result)):
        total[:] = 0
        for tap in range(weights.shape[1]):
            row = rows[min(max(places[y] + tap, 0), last)]
            weight = weights[y, tap]
            for x in range(len(total)):
                total[x] += weight * row[x]
        for x in range(len(total)):
            # LANCZOS goes a little beyond beside an edge; and what is full in theory is full.
            level = (total[x] + ROUNDING_MARGIN) * peak
            result[y, x] = int(min(max(level, np.float32(0)), peak))


def _weights(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each target pixel its first source pixel, and the weights of that and those behind."""
    centres = (np.arange(target) + 0.5)[:, np.newaxis] * (source / target)
    places = np.floor(centres - _TAPS / 2 + 0.5).astype(np.int64)
    taps = np.arange(_TAPS)
    away = places + taps + 0.5 - centres
    weights = np.sinc(away) * np.sinc(away / 3) * (np.abs(away) < 3)
    weights *= (places + taps >= 0) & (places + taps < source)
    return places.ravel(), (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
