"""The part of an animation's canvas that its first frame covers; the rest is transparent.

Viewers show nothing around a frame that is smaller than the canvas. Pillow fills GIFs with the
first colour of the palette there, and WebPs without an alpha channel with black.
"""

import struct
from typing import Final

import numpy as np
from PIL import Image, ImageFile

from worker.imaging.masks import Box, Pixels

_RIFF_HEADER_BYTES: Final = 12
_FRAME_BYTES: Final = 12
"""Position and size at the beginning of the chunk ANMF, in 3 bytes each."""


def covered_part(data: bytes, image: Image.Image) -> Box | None:
    """Return left, upper, right, lower of the first frame; None if it covers the whole canvas.

    `image` is a file that Pillow has opened and not loaded.
    """
    box = None
    if image.format == "GIF" and isinstance(image, ImageFile.ImageFile) and image.tile:
        box = image.tile[0][1]
    elif image.format == "WEBP":
        box = _first_webp_frame(data)
    if box is None:
        return None
    left, upper, right, lower = box
    return None if box == (0, 0, *image.size) else (left, upper, right, lower)


def clear_outside(alpha: Pixels | None, box: Box, rows: slice, width: int) -> Pixels:
    """Return the alpha (rows, W) of some rows of a canvas with zeros outside of a box.

    Without an alpha the inside is opaque.
    """
    left, upper, right, lower = box
    inside = np.zeros((rows.stop - rows.start, width), np.uint8)
    part = (slice(max(upper - rows.start, 0), max(lower - rows.start, 0)), slice(left, right))
    inside[part] = 255 if alpha is None else alpha[part]
    return inside


def _first_webp_frame(data: bytes) -> Box | None:
    position = _RIFF_HEADER_BYTES
    while position + 8 + _FRAME_BYTES <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"ANMF":
            numbers = [
                int.from_bytes(data[place : place + 3], "little")
                for place in range(position + 8, position + 8 + _FRAME_BYTES, 3)
            ]
            left, upper = 2 * numbers[0], 2 * numbers[1]
            return left, upper, left + numbers[2] + 1, upper + numbers[3] + 1
        if kind in (b"VP8 ", b"VP8L"):
            return None
        position += 8 + length + length % 2
    return None
