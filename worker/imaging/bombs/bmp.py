"""BMP: run-length coding, which Pillow decodes in Python, packet by packet."""

import struct
from typing import Final

from worker.errors import DecompressionBomb, ImageTooLarge

_MAX_PIXELS: Final = 10_000_000
"""These take up to seven seconds. Run-length coded files are screenshots, which are smaller."""
_HEADER_BYTES: Final = 4096
_RLE8, _RLE4 = 1, 2


def is_run_length_coded(data: bytes) -> bool:
    """Return whether a BMP says that it is run-length coded."""
    (header,) = struct.unpack_from("<I", data, 14)
    if header < 40 or len(data) < 34:
        return False
    (compression,) = struct.unpack_from("<I", data, 30)
    return compression in (_RLE8, _RLE4)


def check_run_lengths(data: bytes, pixels: int) -> None:
    """Check a run-length coded BMP.

    Raise `ImageTooLarge` for too many pixels, `DecompressionBomb` for packets without pixels.
    """
    if pixels > _MAX_PIXELS:
        raise ImageTooLarge(
            f"expected at most {_MAX_PIXELS:,} pixels in a run-length coded BMP, "
            f"found {pixels:,}; store it as PNG"
        )
    # No useful coding of a pixel takes more than two bytes.
    if len(data) > 2 * pixels + pixels // 2 + _HEADER_BYTES:
        raise DecompressionBomb(
            f"BMP: expected at most two bytes for each of {pixels:,} pixels, "
            f"found {len(data):,} in all"
        )
