"""Compositing: from colours and a mask to the pixels of a cut-out."""

import math
from typing import Final

import numpy as np

from worker.imaging.masks import Box, Pixels, bounding_box, max_level, widen
from worker.imaging.strips import map_strips

_CROP_ALPHA: Final = 0.05
"""Alpha above which a crop counts a pixel as foreground; soft masks have noise below it."""


def uncut_rgba(rgb: Pixels, alpha: Pixels | None) -> Pixels:
    """Return the straight RGBA (H, W, 4) of a picture, opaque unless it has an alpha."""
    return np.dstack((rgb, np.full_like(rgb[:, :, 0], max_level(rgb)) if alpha is None else alpha))


def composite_on_transparent(rgb: Pixels, mask: Pixels, alpha: Pixels | None) -> Pixels:
    """Return rembg's plain cut-out: each channel, the source's alpha too, times the mask.

    Equals Pillow's `Image.composite` with transparent black, rounding included. It darkens
    semi-transparent edges, which is why the preset `default` does not use it.
    """
    full = max_level(mask)

    def multiply(mask: Pixels, rgb: Pixels, alpha: Pixels | None = None) -> Pixels:
        product = uncut_rgba(rgb, alpha).astype(np.uint32) * mask[:, :, np.newaxis] + full // 2
        return (product // full).astype(mask.dtype)

    return map_strips(multiply, mask, rgb, *([] if alpha is None else [alpha]))


def composite_on_colour(rgba: Pixels, background: tuple[float, float, float, float]) -> Pixels:
    """Return straight RGBA (H, W, 4) on a background, by the levels of both.

    `background` is red, green, blue and alpha, 0–255, straight, in the colour space of `rgba`.
    """
    full = np.float32(max_level(rgba))
    colour = np.asarray(background[:3], np.float32) * (full / 255)

    def blend(rgba: Pixels) -> Pixels:
        front = rgba[:, :, 3:] / full
        back = np.float32(background[3] / 255) * (1 - front)
        alpha = front + back
        mixed = rgba[:, :, :3] * front + colour * back
        mixed = np.divide(mixed, alpha, out=np.zeros_like(mixed), where=alpha > 0)
        return np.rint(np.concatenate((mixed, alpha * full), axis=2)).astype(rgba.dtype)

    return map_strips(blend, rgba)


def crop_box(mask: Pixels, margin: str) -> Box | None:
    """Return the bounding box of the foreground with a margin, or None without foreground.

    `margin` is in pixels (`20`) or per cent of the box's longer side (`5%`). The result lies within
    the picture.
    """
    box = bounding_box(mask, above=int(_CROP_ALPHA * max_level(mask)))
    if box is None:
        return None
    left, upper, right, lower = box
    if margin.endswith("%"):
        pixels = math.ceil(max(right - left, lower - upper) * float(margin[:-1]) / 100)
    else:
        pixels = int(margin)
    return widen(box, pixels, mask.shape[::-1])


def crop(pixels: Pixels, box: Box | None) -> Pixels:
    """Return the part of (H, W, …) pixels inside a box; without a box, all of them."""
    if box is None:
        return pixels
    left, upper, right, lower = box
    return np.ascontiguousarray(pixels[upper:lower, left:right])


def parse_colour(text: str) -> tuple[tuple[int, int, int], int]:
    """Return `#rrggbb` or `#rrggbbaa` as red, green and blue in sRGB, and alpha, 0–255."""
    red, green, blue, alpha = bytes.fromhex((text[1:] + "ff")[:8])
    return (red, green, blue), alpha
