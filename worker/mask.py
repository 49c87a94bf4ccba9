"""The maths between a picture, a model and a cut-out. Pure: arrays in, arrays out.

A saliency map is what a model says, float32 in 0…1; a mask is the uint8 alpha made from it.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Map = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Channels = float | tuple[float, float, float]

SALIENT: Final = 0.5
"""A map that nowhere rises above this shows no foreground; stretching it would cut out noise."""


class Extent(NamedTuple):
    """How much of the image a mask covers, and where."""

    share: float
    """Mean of the mask, 0…1."""
    box: tuple[int, int, int, int] | None
    """Left, upper, right, lower in pixels, the latter two exclusive; None for an empty mask."""


def to_input(rgb: Bytes, *, size: tuple[int, int], mean: Channels, std: Channels) -> Map:
    """Prepare (H, W, 3) pixels for a model: (1, 3, height, width), `(x / 255 - mean) / std`.

    The image is squashed to `size` (width, height) with a LANCZOS filter, as rembg does.
    """
    resized = Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS)
    scaled = np.asarray(resized, dtype=np.float32) / np.float32(255)
    normalised = (scaled - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normalised.astype(np.float32).transpose(2, 0, 1)[np.newaxis])


def over_white(rgb: Bytes, alpha: Bytes) -> Bytes:
    """What a transparent picture looks like on white; the colour under alpha 0 can be anything."""
    share = alpha[:, :, np.newaxis].astype(np.uint16)
    return ((rgb * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)


def stretch(saliency: Map) -> Map:
    """Stretch a map to 0…1 by its minimum and maximum, or to all zero where nothing is salient.

    The original systems divide by `max - min` whatever it is: a flat map is a division by zero, and
    a blank picture comes out as a cut-out of noise. The formula is theirs, the guard is ours.
    """
    low, high = float(saliency.min()), float(saliency.max())
    if not np.isfinite(low + high) or high <= SALIENT or high - low < 1 / 255:
        return np.zeros_like(saliency)
    return np.asarray((saliency - np.float32(low)) / np.float32(high - low), np.float32)


def to_size(saliency: Map, size: tuple[int, int]) -> Map:
    """Resize an (h, w) map to `size` (width, height) in floating point, kept within 0…1."""
    if saliency.shape == size[::-1]:
        return saliency
    resized = Image.fromarray(saliency).resize(size, Image.Resampling.LANCZOS)
    return np.clip(np.asarray(resized, dtype=np.float32), 0, 1)


def to_mask(saliency: Map, *, threshold: float | None) -> Bytes:
    """Turn a 0…1 map into 0…255: `floor(255 p)`, or with a threshold 255 where that is above it."""
    levels: Bytes = np.floor(saliency * np.float32(255)).astype(np.uint8)
    if threshold is None:
        return levels
    binary = levels / np.float64(255) > threshold
    return np.asarray(binary * np.uint8(255), np.uint8)


def combine(mask: Bytes, alpha: Bytes | None) -> Bytes:
    """A mask under the source's own transparency: what was transparent stays so."""
    if alpha is None:
        return mask
    return ((mask.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def cut_out(rgb: Bytes, mask: Bytes) -> Bytes:
    """Straight RGBA (H, W, 4): the picture's own colours with the mask as alpha."""
    return np.dstack((rgb, mask))


def extent(mask: Bytes) -> Extent:
    """The share and the bounding box of a mask."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not columns.size:
        return Extent(0.0, None)
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Extent(float(mask.mean()) / 255, box)
