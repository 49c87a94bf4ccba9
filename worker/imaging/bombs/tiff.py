"""TIFF and EXIF: directories with countless entries and values, and tiles larger than the picture.

Source: TIFF 6.0, sections 2 and 15; https://www.awaresystems.be/imaging/tiff/bigtiff.html.
"""

import os
import struct
from typing import IO, Final

from worker.errors import DecompressionBomb
from worker.imaging.masks import Size

_MAX_ENTRIES: Final = 2**16 - 1
"""What a classic TIFF has room for; BigTIFF itself has no limit."""
_MAX_NUMBERS: Final = 2**18
"""Values of one entry. A table for 16 bits has 3 × 2¹⁶ values; a strip takes 13 microseconds."""
_MAX_RATIONALS: Final = 2**14
"""Values of one entry of rationals, of which Pillow makes costlier objects."""

_VALUE_BYTES: Final = {3: 2, 4: 4, 5: 8, 6: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""Bytes of a value, by type, for the types of whose values Pillow makes Python objects."""
_RATIONAL, _SIGNED_RATIONAL = 5, 10


def check_directory(fp: IO[bytes], *, big_endian: bool, bigtiff: bool) -> None:
    """Raise `DecompressionBomb` if the directory at the file's position has too much in it.

    The position is the same afterwards.
    """
    start = fp.tell()
    length = fp.seek(0, os.SEEK_END)
    fp.seek(start)
    order = ">" if big_endian else "<"
    count = struct.Struct(order + ("Q" if bigtiff else "H"))
    entry = struct.Struct(order + ("HHQ8x" if bigtiff else "HHI4x"))
    head = fp.read(count.size)
    entries = count.unpack(head)[0] if len(head) == count.size else 0
    # Entries beyond the end of the file are not read.
    entries = min(entries, length // entry.size)
    if entries > _MAX_ENTRIES:
        raise DecompressionBomb(
            f"TIFF: expected at most {_MAX_ENTRIES:,} entries in a directory, found {entries:,}"
        )
    table = fp.read(entries * entry.size)
    for tag, kind, values in entry.iter_unpack(table[: len(table) // entry.size * entry.size]):
        limit = _MAX_RATIONALS if kind in (_RATIONAL, _SIGNED_RATIONAL) else _MAX_NUMBERS
        if kind in _VALUE_BYTES and values > limit and values * _VALUE_BYTES[kind] <= length:
            raise DecompressionBomb(
                f"TIFF or EXIF: expected at most {limit:,} values of tag {tag}, found {values:,}"
            )
    fp.seek(start)


def check_tile(size: Size, max_pixels: int) -> None:
    """Raise `DecompressionBomb` if a tile of a TIFF has more pixels than an image may have."""
    width, height = size
    if width * height > max_pixels:
        raise DecompressionBomb(
            f"TIFF: expected tiles of at most {max_pixels:,} pixels, found {width}×{height}"
        )
