"""The subject's own colour wherever something else shines through its mask. Pure."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from worker.imaging.masks import Box, Pixels, extent, peak
from worker.imaging.matting import matting

_MARGIN: Final = 16
"""Pixels around the subject that also get its colour, for whoever resizes the cut-out."""
_FULL: Final = 0.99
"""Alpha from which a pixel keeps its colour: hardly anything shines through."""
_FAINT: Final = 2 / 255
"""Alpha up to this is a model's noise; where the subject ends is above it."""
LAYERS: Final = 100_000
"""Pixels that the colours of subject and background are estimated at. They change slowly: of ten
times as many, what is made of them is no nearer to the truth."""


def clean_edges(rgb: Pixels, mask: Pixels, *, result: Pixels | None = None) -> Pixels:
    """The picture with the subject's own colour wherever something else shines through its mask.

    Where the mask is full the picture stays as it is. Far from the subject it becomes black, so
    that a cut-out neither carries its background along nor pays for it in bytes. Written to
    `result` (H, W, 3), where there is one.
    """
    result = np.empty_like(rgb) if result is None else result
    faint, full = int(_FAINT * peak(mask)), math.ceil(_FULL * peak(mask))
    box = extent(mask, above=faint).box
    if mask.min() >= full:
        result[:] = rgb
        return result
    if box is None:
        result[:] = 0
        return result
    left, upper, right, lower = _wider(box, (mask.shape[1], mask.shape[0]))
    for beside in np.s_[:upper, :], np.s_[lower:, :], np.s_[:, :left], np.s_[:, right:]:
        result[beside] = 0
    part = np.s_[upper:lower, left:right]
    seen, levels = rgb[part], mask[part]
    step = math.ceil(math.sqrt(levels.size / LAYERS))
    front, behind = matting.layers(seen[::step, ::step], levels[::step, ::step])
    matting.kernels().fuse(
        *(seen, levels, front, behind, _near(levels > faint, step), step),
        *(levels.dtype.type(value) for value in (faint, full, peak(mask))),
        result[part],
    )
    return result


def _near(there: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    """Which of every `step`th pixels are so near the subject that they get its colour."""
    rows, columns = (np.arange(0, side, step) for side in there.shape)
    some = np.logical_or.reduceat(np.logical_or.reduceat(there, rows, axis=0), columns, axis=1)
    around = 2 * math.ceil(_MARGIN / step) + 1
    return np.asarray(ndimage.maximum_filter(some, size=around))


def _wider(box: Box, size: tuple[int, int]) -> Box:
    left, upper, right, lower = box
    return (
        max(left - _MARGIN, 0),
        max(upper - _MARGIN, 0),
        min(right + _MARGIN, size[0]),
        min(lower + _MARGIN, size[1]),
    )
