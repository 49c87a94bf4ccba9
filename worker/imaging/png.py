"""A PNG encoder that takes a quarter of libvips's time and writes files no larger.

Each row is stored as the difference to the row above and compressed by ISA-L; compression is what
takes most of the time for large pictures. Source: https://www.w3.org/TR/png-3/.
"""

import struct
import zlib
from typing import Final

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from worker.imaging.masks import Pixels
from worker.imaging.strips import strips

Resolution = tuple[float, float]
"""Pixels per inch, horizontally and vertically."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES: Final = {1: 0, 3: 2, 4: 6}
"""By number of channels: grey, RGB, RGBA."""
_UP: Final = 2
"""Filter type: each byte minus the byte above it."""
_INCHES_PER_METRE: Final = 1 / 0.0254
_LEVEL: Final = 1
"""ISA-L has 0 to 3; the higher ones are slower, and their files hardly smaller."""


def write_png(pixels: Pixels, *, icc_profile: bytes | None, dpi: Resolution | None) -> bytes:
    """Return a PNG of (H, W), (H, W, 3) or (H, W, 4) pixels, uint8 or uint16.

    `dpi` is written in pixels per metre. The bytes depend on the arguments only.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    depth = 8 * pixels.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, depth, _COLOUR_TYPES[channels], 0, 0, 0)
    parts = [_SIGNATURE, *_chunk(b"IHDR", header)]
    if icc_profile is not None:
        parts += _chunk(b"iCCP", b"icc\0\0" + isal_zlib.compress(icc_profile))
    if dpi is not None:
        x, y = (round(side * _INCHES_PER_METRE) for side in dpi)
        parts += _chunk(b"pHYs", struct.pack(">IIB", x, y, 1))  # 1: per metre
    deflate = isal_zlib.compressobj(_LEVEL)
    above = np.zeros((1, width * channels * pixels.dtype.itemsize), np.uint8)
    for rows in strips(height, width):
        part = _bytes(pixels[rows])
        if data := deflate.compress(_filtered(part, above).data):
            parts += _chunk(b"IDAT", data)
        above = part[-1:]
    parts += _chunk(b"IDAT", deflate.flush())
    parts += _chunk(b"IEND", b"")
    return b"".join(parts)


def _bytes(pixels: Pixels) -> NDArray[np.uint8]:
    """Return the rows as bytes, the high byte of 16 bits first."""
    wide = np.ascontiguousarray(pixels.astype(">u2") if pixels.dtype == np.uint16 else pixels)
    return wide.view(np.uint8).reshape(len(pixels), -1)


def _filtered(rows: NDArray[np.uint8], above: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return each row minus the row above, preceded by the filter type."""
    filtered = np.empty((rows.shape[0], 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    np.subtract(rows[:1], above, out=filtered[:1, 1:])
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def _chunk(kind: bytes, data: bytes) -> list[bytes]:
    check = zlib.crc32(data, zlib.crc32(kind))
    return [struct.pack(">I", len(data)), kind, data, struct.pack(">I", check)]
