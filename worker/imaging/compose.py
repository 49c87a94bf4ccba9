"""From colours and a mask to the pixels of the result: alpha, background, crop. Pure."""

import math
from typing import Final

import numpy as np

from worker.imaging.masks import Box, Pixels, extent, max_level
from worker.imaging.strips import map_strips

_SUBJECT: Final = 0.05
"""Alpha above which a crop counts a pixel to the subject; below lies the noise of soft masks."""


def stack_alpha(rgb: Pixels, alpha: Pixels) -> Pixels:
    """RGBA (H, W, 4): the colours as they are, beside their alpha."""
    return np.dstack((rgb, alpha))


def uncut_rgba(rgb: Pixels, alpha: Pixels | None) -> Pixels:
    """RGBA of a picture that is not cut out."""
    return stack_alpha(rgb, np.full_like(rgb[:, :, 0], max_level(rgb)) if alpha is None else alpha)


def composite_on_transparent(rgb: Pixels, mask: Pixels, alpha: Pixels | None) -> Pixels:
    """Rembg's plain cut-out: every channel, the source's alpha too, times the mask.

    `Image.composite` with transparent black, to the same rounding. It darkens half-transparent
    edges, which is why the default preset does not do it.
    """
    full = max_level(mask)

    def times(mask: Pixels, rgb: Pixels, alpha: Pixels | None = None) -> Pixels:
        product = uncut_rgba(rgb, alpha).astype(np.uint32) * mask[:, :, np.newaxis] + full // 2
        return (product // full).astype(mask.dtype)

    return map_strips(times, mask, rgb, *([] if alpha is None else [alpha]))


def composite_on_colour(rgba: Pixels, background: tuple[int, int, int, int]) -> Pixels:
    """RGBA over a colour of 0…255 a channel, itself straight; the result is straight too."""
    full = np.float32(max_level(rgba))
    colour = np.asarray(background[:3], np.float32) * (full / 255)

    def mix(rgba: Pixels) -> Pixels:
        share = rgba[:, :, 3:] / full
        behind = np.float32(background[3] / 255) * (1 - share)
        alpha = share + behind
        mixed = rgba[:, :, :3] * share + colour * behind
        mixed = np.divide(mixed, alpha, out=np.zeros_like(mixed), where=alpha > 0)
        return np.rint(np.concatenate((mixed, alpha * full), axis=2)).astype(rgba.dtype)

    return map_strips(mix, rgba)


def crop_box(mask: Pixels, margin: str) -> Box | None:
    """The subject's box with a margin, within the picture; None where there is no subject.

    `margin` is pixels (`20`) or per cent of the subject's longer side (`5%`).
    """
    box = extent(mask, above=int(_SUBJECT * max_level(mask))).box
    if box is None:
        return None
    left, upper, right, lower = box
    if margin.endswith("%"):
        room = math.ceil(max(right - left, lower - upper) * float(margin[:-1]) / 100)
    else:
        room = int(margin)
    height, width = mask.shape
    return (
        max(left - room, 0),
        max(upper - room, 0),
        min(right + room, width),
        min(lower + room, height),
    )


def crop(pixels: Pixels, box: Box | None) -> Pixels:
    """The part of (H, W, …) pixels inside a box; all of them without one."""
    if box is None:
        return pixels
    left, upper, right, lower = box
    return np.ascontiguousarray(pixels[upper:lower, left:right])


def parse_colour(text: str) -> tuple[int, int, int, int]:
    """`#rrggbb` or `#rrggbbaa` as four numbers of 0…255."""
    red, green, blue, alpha = bytes.fromhex((text[1:] + "ff")[:8])
    return red, green, blue, alpha
