"""The maths between a picture, a model and a mask. Pure: arrays in, arrays out.

A saliency map is what a model says, float32 in 0…1. A mask is the alpha made from it, (H, W) uint8
or uint16, 0 for background; pixels have the same type. The three presets read a map in their own
ways: `soft_mask` (ours), `isnet_mask` (ISNetSegment) and `rembg_mask` (ImageSegmentationCustom).
"""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image
from scipy import ndimage

from worker.imaging.strips import map_strips, strips

Map = NDArray[np.float32]
Pixels = NDArray[np.uint8 | np.uint16]
Depth = type[np.uint8] | type[np.uint16]
Channels = float | tuple[float, float, float]
Size = tuple[int, int]
Box = tuple[int, int, int, int]

SALIENCY_THRESHOLD: Final = 0.5
"""A map that nowhere rises above this shows no foreground; stretching it would cut out noise."""

_CROSS: Final = ndimage.generate_binary_structure(2, 1)


class Extent(NamedTuple):
    """How much of the image a mask covers, and where."""

    share: float
    """Mean of the mask, 0…1."""
    box: Box | None
    """Left, upper, right, lower in pixels, the latter two exclusive; None for an empty mask."""


def max_level(pixels: Pixels) -> int:
    """The greatest level of an array's type: 255 or 65,535."""
    return int(np.iinfo(pixels.dtype).max)


def to_uint8(pixels: Pixels) -> NDArray[np.uint8]:
    """The same pixels in 8 bits a channel, by the high byte."""
    return np.asarray(pixels if pixels.dtype == np.uint8 else pixels >> 8, np.uint8)


def to_depth(pixels: Pixels, depth: Depth) -> Pixels:
    """8-bit pixels at a depth; 255 becomes 65,535."""
    return pixels if depth is np.uint8 else pixels.astype(np.uint16) * np.uint16(257)


def to_input(
    rgb: NDArray[np.uint8],
    *,
    size: Size,
    mean: Channels,
    std: Channels,
    divisor: Literal["255", "max"] = "255",
    resampling: Literal["lanczos", "bilinear"] = "lanczos",
    channels: Literal["rgb", "bgr"] = "rgb",
    resize: Callable[[NDArray[np.uint8], Size], NDArray[np.uint8]] | None = None,
) -> Map:
    """Prepare (H, W, 3) pixels for a model: (1, 3, height, width) of `(x / divisor - mean) / std`.

    The picture is squashed to `size` (width, height): LANCZOS as rembg does, or bilinear as
    ISNetSegment does. A `max` divisor is that of the squashed picture, rembg's; of a black one, 1.
    `resize` is another LANCZOS than Pillow's, where it need not be rembg's to the last bit.
    """
    means, stds = np.broadcast_to(mean, 3), np.broadcast_to(std, 3)
    if resampling == "bilinear":
        squashed = resize_bilinear(rgb.astype(np.float32), size)
        divided = squashed / (255.0 if divisor == "255" else float(squashed.max()) or 1.0)
        planes = ((divided - means) / stds).transpose(2, 0, 1).astype(np.float32)
    else:
        resized = (resize or _resize_lanczos)(rgb, size)
        # rembg computes in double precision and rounds once; here too, for each level once.
        levels = np.arange(256) / (255.0 if divisor == "255" else float(resized.max()) or 1.0)
        tables = ((levels - means[:, np.newaxis]) / stds[:, np.newaxis]).astype(np.float32)
        planes = np.stack([tables[c].take(resized[:, :, c]) for c in range(3)])
    ordered = planes[::-1] if channels == "bgr" else planes
    return np.ascontiguousarray(ordered[np.newaxis])


def _resize_lanczos(rgb: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))


def composite_on_white(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a transparent picture looks like on white; the colour under alpha 0 can be anything."""

    def blend(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        share = alpha[:, :, np.newaxis].astype(np.uint16)
        return ((rgb * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)

    return map_strips(blend, rgb, alpha)


def sigmoid(logits: Map) -> Map:
    """`1 / (1 + exp(-x))`, of any logits."""
    # Beyond ±80 float32 has no more to tell, and exp would overflow.
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)


def stretch(saliency: Map) -> Map:
    """Stretch a map to 0…1 by its minimum and maximum; a flat one to all zero."""
    low, high = saliency.min(), saliency.max()
    if high == low:
        return np.zeros_like(saliency)
    return np.asarray((saliency - low) / (high - low), np.float32)


def resize_bilinear(array: Map, size: Size) -> Map:
    """Resize (H, W, …) to `size` (width, height) as torch does without antialias.

    That is `interpolate(mode="bilinear", align_corners=False)`: each pixel between its two or four
    nearest, however much smaller the result is.
    """
    for axis, length in ((0, size[1]), (1, size[0])):
        if array.shape[axis] == length:
            continue
        scale = np.float32(array.shape[axis] / length)
        place = (np.arange(length, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
        place = np.maximum(place, np.float32(0))
        low = np.minimum(place.astype(np.int64), array.shape[axis] - 1)
        high = np.minimum(low + 1, array.shape[axis] - 1)
        share = (place - low).astype(np.float32)
        share = share.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
        array = array.take(low, axis) * (1 - share) + array.take(high, axis) * share
    return array


def soft_mask(saliency: Map, size: Size, *, stretched: bool = True, depth: Depth) -> Pixels:
    """The default preset's mask of `size` (width, height): nothing where nothing is salient.

    The original systems stretch whatever there is: a blank picture becomes a cut-out of noise.
    """
    if saliency.max() <= SALIENCY_THRESHOLD or (stretched and np.ptp(saliency) < 1 / 255):
        saliency = np.zeros_like(saliency)
    elif stretched:
        saliency = stretch(saliency)
    width, height = size
    mask = np.empty((height, width), depth)
    if width >= saliency.shape[1] and height >= saliency.shape[0]:
        # Not above: numba takes a second, which who only looks at a mask need not wait for.
        from worker.imaging.upsample import upsample

        upsample(saliency, size, mask)
        return mask
    resized = Image.fromarray(saliency).resize(size, Image.Resampling.LANCZOS)
    for rows in strips(height, width):
        part = np.asarray(resized.crop((0, rows.start, width, rows.stop)), np.float32)
        mask[rows] = _levels(np.clip(part, 0, 1), depth)
    return mask


def isnet_mask(saliency: Map, size: Size, *, stretched: bool = True, depth: Depth) -> Pixels:
    """ISNetSegment's mask: bilinear to `size`, then min–max, then `floor(255 p)`."""
    whole = resize_bilinear(saliency, size)
    return _levels(stretch(whole) if stretched else np.clip(whole, 0, 1), depth)


def rembg_mask(saliency: Map, size: Size, *, stretched: bool = True, depth: Depth) -> Pixels:
    """Rembg's mask: min–max, `floor(255 p)`, then LANCZOS of the 8-bit mask to `size`."""
    levels = _levels(stretch(saliency) if stretched else np.clip(saliency, 0, 1), np.uint8)
    resized = Image.fromarray(levels).resize(size, Image.Resampling.LANCZOS)
    return to_depth(np.asarray(resized), depth)


def binarise(mask: Pixels, threshold: float) -> Pixels:
    """Full where `level / max_level > threshold`, strictly, else 0."""
    full = mask.dtype.type(max_level(mask))
    return map_strips(
        lambda part: np.where(part / np.float64(full) > threshold, full, 0 * full), mask
    )


def post_process(mask: Pixels) -> Pixels:
    """rembg's: opening with a 3×3 cross, Gaussian of σ = 2, `< 127 → 0, else full`."""
    opened = ndimage.grey_opening(to_uint8(mask), footprint=_CROSS, mode="reflect")
    smooth = ndimage.gaussian_filter(opened.astype(np.float64), sigma=2)
    return np.where(smooth < 127, mask.dtype.type(0), mask.dtype.type(max_level(mask)))


def multiply_alpha(mask: Pixels, alpha: Pixels | None) -> Pixels:
    """A mask under the source's own transparency: what was transparent stays so."""
    if alpha is None:
        return mask
    full = max_level(mask)

    def times(mask: Pixels, alpha: Pixels) -> Pixels:
        return ((mask.astype(np.uint32) * alpha + full // 2) // full).astype(mask.dtype)

    return map_strips(times, mask, alpha)


def extent(mask: Pixels, *, above: int = 0) -> Extent:
    """The share of a mask, and the bounding box of its levels above one."""
    there = mask > above
    columns, rows = np.flatnonzero(there.any(axis=0)), np.flatnonzero(there.any(axis=1))
    if not columns.size:
        return Extent(float(mask.mean()) / max_level(mask), None)
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Extent(float(mask.mean()) / max_level(mask), box)


def to_levels(share: NDArray[np.float32] | NDArray[np.float64], depth: DTypeLike) -> Pixels:
    """Shares as levels of a type, cut off below as rembg does; outside 0…1 they are clipped."""
    full = float(np.iinfo(depth).max)
    return np.clip(share * full, 0, full).astype(depth)


def _levels(saliency: Map, depth: Depth) -> Pixels:
    full = np.iinfo(depth).max
    # 65,535 p needs more digits than float32 has; 255 p is the originals', in float32.
    wide = saliency if depth is np.uint8 else saliency.astype(np.float64)
    return np.floor(wide * wide.dtype.type(full)).astype(depth)
