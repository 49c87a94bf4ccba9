"""Upsampling of saliency maps to masks by LANCZOS, compiled; equal to Pillow's up to rounding."""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from PIL import Image

from worker.imaging.lanczos import ROUNDING_MARGIN, lanczos_taps

_TAPS: Final = 6
"""Source pixels per target pixel: three on either side. A seventh always has weight 0."""
_TYPE: Final = "void(f4[:,::1], i8[::1], f4[:,::1], f4, {0}[:,::1])"


def upsample(
    saliency: NDArray[np.float32], size: tuple[int, int], mask: NDArray[np.uint8 | np.uint16]
) -> None:
    """Write a map (h, w) float32 in 0…1 to a mask (H, W) of `size`, no smaller along either axis.

    `size` is width and height. Levels are rounded down.
    """
    width, height = size
    # Pillow resizes the rows while there are only h of them; the kernel below does the columns.
    resized = Image.fromarray(saliency).resize((width, len(saliency)), Image.Resampling.LANCZOS)
    taps, weights = lanczos_taps(len(saliency), height)
    first, weights = taps[:, 0].copy(), weights[:, :_TAPS].astype(np.float32)
    _resize_columns(np.array(resized), first, weights, np.iinfo(mask.dtype).max, mask)


@njit([_TYPE.format("u1"), _TYPE.format("u2")], cache=True, nogil=True)
def _resize_columns(rows, first, weights, max_level, mask):  # type: ignore[no-untyped-def]
    last = len(rows) - 1
    total = np.empty(rows.shape[1], np.float32)
    for y in range(len(mask)):
        total[:] = 0
        for tap in range(weights.shape[1]):
            row = rows[min(max(first[y] + tap, 0), last)]
            weight = weights[y, tap]
            for x in range(len(total)):
                total[x] += weight * row[x]
        for x in range(len(total)):
            # LANCZOS overshoots at edges, hence the limits.
            level = (total[x] + ROUNDING_MARGIN) * max_level
            mask[y, x] = int(min(max(level, np.float32(0)), max_level))
