"""From pixels to a model's input, and from its saliency map to a mask.

A saliency map is a model's output, float32 in 0…1. A mask is the alpha made from it: (H, W), uint8
or uint16 like the pixels, 0 for background. Each preset has its own way to make one: `soft_mask` is
that of `default`, `isnet_mask` that of ISNetSegment, `rembg_mask` that of ImageSegmentationCustom.
"""

from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image
from scipy import ndimage

from worker.imaging.strips import map_strips, strips

SaliencyMap = NDArray[np.float32]
Pixels = NDArray[np.uint8 | np.uint16]
"""(H, W) or (H, W, channels)."""
Depth = type[np.uint8] | type[np.uint16]
Channels = float | tuple[float, float, float]
"""One number for all three channels, or one for each."""
Size = tuple[int, int]
"""Width and height."""
Box = tuple[int, int, int, int]
"""Left, upper, right, lower, in pixels; the last two are exclusive."""

SALIENCY_THRESHOLD: Final = 0.5
"""A map whose maximum is not above this has no foreground; stretching it would amplify noise."""

_CROSS: Final = ndimage.generate_binary_structure(2, 1)


def max_level(pixels: Pixels) -> int:
    """Return the largest value of an array's dtype: 255 or 65,535."""
    return int(np.iinfo(pixels.dtype).max)


def to_uint8(pixels: Pixels) -> NDArray[np.uint8]:
    """Return pixels in 8 bits per channel: the high byte of 16."""
    return np.asarray(pixels if pixels.dtype == np.uint8 else pixels >> 8, np.uint8)


def to_depth(pixels: Pixels, depth: Depth) -> Pixels:
    """Return pixels at a depth: 255 becomes 65,535, and 16 bits are reduced to the high byte."""
    if depth is np.uint8:
        return to_uint8(pixels)
    return pixels if pixels.dtype == np.uint16 else pixels.astype(np.uint16) * np.uint16(257)


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
) -> NDArray[np.float32]:
    """Return a model's input, (1, 3, height, width) float32, contiguous.

    It is `(x / divisor - mean) / std` of the resized picture.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
        The picture. It is resized without keeping its aspect ratio.
    size : (int, int)
        Width and height of the model's input.
    mean, std : float or three floats
        Per channel, in the units of `x / divisor`.
    divisor : "255" or "max"
        "max" is the maximum of the resized picture, as in rembg; 1 for a black picture.
    resampling : "lanczos" or "bilinear"
        LANCZOS as in rembg, or bilinear without antialiasing as in ISNetSegment.
    channels : "rgb" or "bgr"
        Order of the channels in the result.
    resize : callable, optional
        A faster LANCZOS than Pillow's, where the result need not equal rembg's bit by bit.
    """
    means, stds = np.broadcast_to(mean, 3), np.broadcast_to(std, 3)
    if resampling == "bilinear":
        floats = resize_bilinear(rgb.astype(np.float32), size)
        scaled = floats / (255.0 if divisor == "255" else float(floats.max()) or 1.0)
        planes = ((scaled - means) / stds).transpose(2, 0, 1).astype(np.float32)
    else:
        resized = (resize or _resize_lanczos)(rgb, size)
        # Like rembg, compute in double precision and round once, here for each of the 256 levels.
        levels = np.arange(256) / (255.0 if divisor == "255" else float(resized.max()) or 1.0)
        tables = ((levels - means[:, np.newaxis]) / stds[:, np.newaxis]).astype(np.float32)
        planes = np.stack([tables[c].take(resized[:, :, c]) for c in range(3)])
    ordered = planes[::-1] if channels == "bgr" else planes
    return np.ascontiguousarray(ordered[np.newaxis])


def _resize_lanczos(rgb: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))


def composite_on_white(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3) colours composited on white, as those under alpha 0 can be anything."""

    def blend(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        weight = alpha[:, :, np.newaxis].astype(np.uint16)
        return ((rgb * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)

    return map_strips(blend, rgb, alpha)


def sigmoid(logits: NDArray[np.float32]) -> SaliencyMap:
    """Return `1 / (1 + exp(-logits))`, float32, without overflow for any logits."""
    # Beyond ±80 the result no longer changes in float32, and exp would overflow.
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)


def softmax(logits: NDArray[np.float32], axis: int) -> SaliencyMap:
    """Return `exp(logits) / sum(exp(logits))` over an axis, float32, without overflow.

    NaN or +infinity in the logits gives NaN.
    """
    with np.errstate(invalid="ignore"):
        exponents = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=axis, keepdims=True), np.float32)


def to_full_range(values: NDArray[np.float32], low: float, high: float) -> SaliencyMap:
    """Return values as 0…1, where `low` stands for background and `high` for foreground.

    `high` may be the smaller one: then the map is that of the background.
    """
    if (low, high) == (0, 1):
        return values
    return np.asarray((values - np.float32(low)) / np.float32(high - low), np.float32)


def stretch(saliency: SaliencyMap) -> SaliencyMap:
    """Stretch a map to 0…1 by its minimum and maximum; a constant map becomes 0."""
    low, high = saliency.min(), saliency.max()
    if high == low:
        return np.zeros_like(saliency)
    return np.asarray((saliency - low) / (high - low), np.float32)


def resize_bilinear(array: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """Resize (H, W, …) to `size` (width, height) as torch does without antialiasing.

    Equals `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`: each pixel is
    interpolated between the nearest two per axis, even where the result is much smaller.
    """
    for axis, length in ((0, size[1]), (1, size[0])):
        if array.shape[axis] == length:
            continue
        scale = np.float32(array.shape[axis] / length)
        centre = (np.arange(length, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
        centre = np.maximum(centre, np.float32(0))
        low = np.minimum(centre.astype(np.int64), array.shape[axis] - 1)
        high = np.minimum(low + 1, array.shape[axis] - 1)
        weight = (centre - low).astype(np.float32)
        weight = weight.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
        array = array.take(low, axis) * (1 - weight) + array.take(high, axis) * weight
    return array


def soft_mask(saliency: SaliencyMap, size: Size, *, stretched: bool, depth: Depth) -> Pixels:
    """Return the mask of the preset `default`, resized to `size` by LANCZOS.

    With `stretched` the map (h, w) is stretched to 0…1 first, as in the other presets. A map
    without foreground gives an empty mask: the original systems stretch any map, so that the
    cut-out of a blank picture is noise.
    """
    if saliency.max() <= SALIENCY_THRESHOLD or (stretched and np.ptp(saliency) < 1 / 255):
        saliency = np.zeros_like(saliency)
    elif stretched:
        saliency = stretch(saliency)
    width, height = size
    mask = np.empty((height, width), depth)
    if width >= saliency.shape[1] and height >= saliency.shape[0]:
        # Imported on first use, because importing numba takes a second.
        from worker.imaging.upsample import upsample

        upsample(saliency, size, mask)
        return mask
    resized = Image.fromarray(saliency).resize(size, Image.Resampling.LANCZOS)
    for rows in strips(height, width):
        part = np.asarray(resized.crop((0, rows.start, width, rows.stop)), np.float32)
        mask[rows] = _levels(part, depth)
    return mask


def isnet_mask(saliency: SaliencyMap, size: Size, *, stretched: bool, depth: Depth) -> Pixels:
    """Return ISNetSegment's mask: bilinear to `size`, then stretched, then `floor(255 p)`."""
    resized = resize_bilinear(saliency, size)
    return _levels(stretch(resized) if stretched else resized, depth)


def rembg_mask(saliency: SaliencyMap, size: Size, *, stretched: bool, depth: Depth) -> Pixels:
    """Return rembg's mask: stretched, `floor(255 p)`, then the 8 bits to `size` by LANCZOS."""
    levels = _levels(stretch(saliency) if stretched else saliency, np.uint8)
    resized = Image.fromarray(levels).resize(size, Image.Resampling.LANCZOS)
    return to_depth(np.asarray(resized), depth)


def binarise(mask: Pixels, threshold: float) -> Pixels:
    """Return a mask that is full where `level / max_level(mask) > threshold`, else 0."""
    full = mask.dtype.type(max_level(mask))
    return map_strips(lambda part: np.where(part / np.float64(full) > threshold, full, 0), mask)


def post_process(mask: Pixels) -> Pixels:
    """Open a mask by a 3×3 cross, blur it with σ = 2, binarise it at level 127, as rembg does."""
    opened = ndimage.grey_opening(to_uint8(mask), footprint=_CROSS, mode="reflect")
    smooth = ndimage.gaussian_filter(opened.astype(np.float64), sigma=2)
    return np.where(smooth < 127, mask.dtype.type(0), mask.dtype.type(max_level(mask)))


def multiply_alpha(mask: Pixels, alpha: Pixels | None) -> Pixels:
    """Multiply a mask by the source's alpha, so that transparent pixels stay transparent."""
    if alpha is None:
        return mask
    full = max_level(mask)

    def multiply(mask: Pixels, alpha: Pixels) -> Pixels:
        return ((mask.astype(np.uint32) * alpha + full // 2) // full).astype(mask.dtype)

    return map_strips(multiply, mask, alpha)


def bounding_box(mask: Pixels, *, above: int = 0) -> Box | None:
    """Return the bounding box of the levels greater than `above`, or None without any."""
    inside = mask > above
    columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    if not columns.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def widen(box: Box, margin: int, size: Size) -> Box:
    """Widen a box by `margin` pixels on each side, but not beyond a picture of this size."""
    left, upper, right, lower = box
    left, upper = max(left - margin, 0), max(upper - margin, 0)
    return left, upper, min(right + margin, size[0]), min(lower + margin, size[1])


def to_levels(values: NDArray[np.float32] | NDArray[np.float64], depth: DTypeLike) -> Pixels:
    """Return values of 0…1, clipped to that range, as levels rounded down as rembg does."""
    full = float(np.iinfo(depth).max)
    return np.clip(values * full, 0, full).astype(depth)


def _levels(saliency: SaliencyMap, depth: Depth) -> Pixels:
    # 65,535 p needs more digits than float32 has; the original systems compute 255 p in float32.
    return to_levels(saliency if depth is np.uint8 else saliency.astype(np.float64), depth)
