"""Decontamination: remove background colour from the semi-transparent pixels of a cut-out."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from worker.imaging.masks import Pixels, bounding_box, max_level, widen
from worker.imaging.matting.foreground import foreground_and_background
from worker.imaging.matting.kernels import kernels

_MARGIN: Final = 16
"""Pixels around the foreground that get its colour too, so that a cut-out can be resized."""
_OPAQUE: Final = 0.99
"""Alpha from which a pixel keeps its colour, as hardly any background shows through."""
_FAINT: Final = 2 / 255
"""Alpha up to which a pixel counts as noise of the model: the foreground ends above it."""
LAYER_PIXELS: Final = 100_000
"""Pixels at which the colours of foreground and background are estimated. They change slowly: ten
times as many do not bring the result closer to the truth."""


def decontaminate(rgb: Pixels, mask: Pixels, *, result: Pixels | None = None) -> Pixels:
    """Return a picture with the foreground's own colour where background shows through the mask.

    Opaque pixels keep their colour. Far from the foreground pixels become black, so that a cut-out
    neither carries its background along nor spends bytes on it.

    `rgb` is (H, W, 3), `mask` its alpha (H, W), both uint8 or both uint16. `result` is an array
    like `rgb` to write to and to return.

    Source: M. Forte, "Approximate Fast Foreground Colour Estimation", 2021, for the step from
    layers of a fraction of the size to the full size.
    """
    result = np.empty_like(rgb) if result is None else result
    faint, opaque = int(_FAINT * max_level(mask)), math.ceil(_OPAQUE * max_level(mask))
    box = bounding_box(mask, above=faint)
    if mask.min() >= opaque:
        result[:] = rgb
        return result
    if box is None:
        result[:] = 0
        return result
    left, upper, right, lower = widen(box, _MARGIN, mask.shape[::-1])
    for outside in np.s_[:upper, :], np.s_[lower:, :], np.s_[:, :left], np.s_[:, right:]:
        result[outside] = 0
    part = np.s_[upper:lower, left:right]
    colours, levels = rgb[part], mask[part]
    step = math.ceil(math.sqrt(levels.size / LAYER_PIXELS))
    alpha = levels[::step, ::step] / np.float32(max_level(mask))
    layers = foreground_and_background(colours[::step, ::step], alpha)
    limits = (levels.dtype.type(value) for value in (faint, opaque, max_level(mask)))
    near = _near(levels > faint, step)
    kernels().decontaminate(colours, levels, *layers, near, step, *limits, result[part])
    return result


def _near(foreground: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    """Return which of every `step`th pixels are near enough to the foreground to get its colour."""
    rows, columns = (np.arange(0, side, step) for side in foreground.shape)
    occupied = np.logical_or.reduceat(foreground, rows, axis=0)
    occupied = np.logical_or.reduceat(occupied, columns, axis=1)
    size = 2 * math.ceil(_MARGIN / step) + 1
    return np.asarray(ndimage.maximum_filter(occupied, size=size))
