"""WebP: metadata and frames of which libwebp and Pillow make three copies.

Source: https://developers.google.com/speed/webp/docs/riff_container.
"""

import struct
from typing import Final

from worker.errors import DecompressionBomb
from worker.imaging.bombs.metadata import check_metadata

_MAX_BYTES: Final = 48 * 2**20
"""The whole file, with all frames of an animation."""
_MAX_BYTES_PER_PIXEL: Final = 4
"""A larger file is allowed for as many pixels: lossless ones of noise need almost as much."""
_MAX_CHUNKS: Final = 250_000
"""These take a quarter of a second."""
_HEADER_BYTES: Final = 12
_CANVAS_BYTES: Final = 30
_PIXELS: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"})


def check_chunks(data: bytes) -> None:
    """Raise `DecompressionBomb` if opening a WebP would take too much memory."""
    limit = max(_MAX_BYTES, _MAX_BYTES_PER_PIXEL * _pixels(data))
    if len(data) > limit:
        raise DecompressionBomb(
            f"WebP: expected at most {limit:,} bytes for a picture of this size, found "
            f"{len(data):,}; store its first frame alone, or as PNG"
        )
    position, exif, total = _HEADER_BYTES, 0, 0
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind not in _PIXELS:
            present = min(length, len(data) - position)
            total += present
            exif += present if kind == b"EXIF" else 0
            check_metadata("WebP", exif=exif, total=total)
        position += 8 + length + length % 2
    raise DecompressionBomb(f"WebP: expected at most {_MAX_CHUNKS:,} chunks, found more")


def _pixels(data: bytes) -> int:
    """Return the pixels that the header states, 0 if it is too short or unknown."""
    if len(data) < _CANVAS_BYTES:
        return 0
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return width * height
