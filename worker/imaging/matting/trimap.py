"""Trimaps, made from masks."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from worker.imaging.masks import Pixels, Size, to_uint8

_SMALLEST_SHARE: Final = 3
"""Pixels: a percentage erodes both areas by one pixel at least, so that every edge is unknown."""


def erosion_side(erode_size: int | str, size: Size) -> int:
    """Return the side in pixels of the square that erodes the areas of a trimap.

    `erode_size` is in pixels (`10`), or per cent (`1%`) of the side of a square with the area of a
    picture of `size`: 1 % is 10 pixels of 1 megapixel and 49 of 24, at least 3.
    """
    if isinstance(erode_size, int):
        return erode_size
    side = math.sqrt(math.prod(size)) * float(erode_size.removesuffix("%")) / 100
    return max(_SMALLEST_SHARE, round(side))


def trimap_from_mask(
    mask: Pixels, *, foreground_threshold: int, background_threshold: int, erode_size: int
) -> NDArray[np.uint8]:
    """Return the trimap of a mask (H, W), by the rules of rembg's `alpha_matting_cutout`.

    Pixels above the first threshold are foreground, those below the second background, in levels of
    0–255. Both areas are eroded by a square with a side of `erode_size` pixels, or by a 3×3 cross
    if it is 0. In the result, uint8, 255 is sure foreground, 0 sure background, 128 unknown.
    """
    levels = to_uint8(mask)
    # The erosion treats pixels outside the picture as background, for both areas.
    foreground = _erode(levels > foreground_threshold, erode_size, outside=False)
    background = _erode(levels < background_threshold, erode_size, outside=True)
    trimap = np.full(levels.shape, 128, np.uint8)
    trimap[foreground] = 255
    trimap[background] = 0
    return trimap


def _erode(area: NDArray[np.bool_], size: int, *, outside: bool) -> NDArray[np.bool_]:
    if not size:
        return np.asarray(ndimage.binary_erosion(area, border_value=outside))
    # Two one-dimensional minima give the same area as erosion by the square, for which scipy's
    # time and memory grow with the fourth power of its side.
    levels = area.view(np.uint8)
    for axis in (0, 1):
        levels = ndimage.minimum_filter1d(levels, size, axis, mode="constant", cval=int(outside))
    return levels.view(np.bool_)
