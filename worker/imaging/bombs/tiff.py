"""TIFF and EXIF: directories of countless entries and values, and tiles beyond their picture.

Source: TIFF 6.0, sections 2 and 15; https://www.awaresystems.be/imaging/tiff/bigtiff.html.
"""

import os
import struct
from typing import IO, Final

from PIL import Image, TiffImagePlugin

from worker.errors import DecompressionBomb

_MOST_ENTRIES: Final = 2**16 - 1
"""What a classic TIFF has room for; a BigTIFF has no limit of its own."""
_MOST_NUMBERS: Final = 2**18
"""Values of one entry. A table for 16 bits has three times 2¹⁶; a strip takes 13 microseconds."""
_MOST_RATIONALS: Final = 2**14
_MOST_DIRECTORIES: Final = 10_000
"""Pages; libvips counts them all before it reads the first."""

_BYTES: Final = {3: 2, 4: 4, 5: 8, 6: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""Of a value, by type, for types whose values Pillow makes objects of."""
_RATIONAL, _SIGNED_RATIONAL = 5, 10
_TILE_WIDTH, _TILE_LENGTH = 322, 323


class BoundedDirectory(TiffImagePlugin.ImageFileDirectory_v2):
    """Pillow's directory, refused before it is read where it has too much in it.

    Pillow reads EXIF of every format with this class, and of some already when it opens a file.
    """

    def load(self, fp: IO[bytes]) -> None:
        """Read the directory at a file's position; `DecompressionBomb` if it has too much in it."""
        start = fp.tell()
        length = fp.seek(0, os.SEEK_END)
        fp.seek(start)
        order = ">" if self.prefix == b"MM" else "<"
        count, entry = (
            (order + "Q", order + "HHQ8x") if self._bigtiff else (order + "H", order + "HHI4x")
        )
        found = fp.read(struct.calcsize(count))
        entries = struct.unpack(count, found)[0] if len(found) == struct.calcsize(count) else 0
        # What does not lie within the file is not read.
        entries = min(entries, length // struct.calcsize(entry))
        if entries > _MOST_ENTRIES:
            raise DecompressionBomb(
                f"TIFF: expected at most {_MOST_ENTRIES:,} entries in a directory, "
                f"found {entries:,}"
            )
        table = fp.read(entries * struct.calcsize(entry))
        table = table[: len(table) // struct.calcsize(entry) * struct.calcsize(entry)]
        for tag, kind, values in struct.iter_unpack(entry, table):
            most = _MOST_RATIONALS if kind in (_RATIONAL, _SIGNED_RATIONAL) else _MOST_NUMBERS
            if kind in _BYTES and values > most and values * _BYTES[kind] <= length:
                raise DecompressionBomb(
                    f"TIFF or EXIF: expected at most {most:,} values of tag {tag}, found {values:,}"
                )
        fp.seek(start)
        super().load(fp)


def check_tiles(image: Image.Image, max_pixels: int) -> None:
    """Raise `DecompressionBomb` where one tile of a TIFF is larger than a picture may be."""
    tags = getattr(image, "tag_v2", {})
    width, length = (tags.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_LENGTH))
    if isinstance(width, int) and isinstance(length, int) and width * length > max_pixels:
        raise DecompressionBomb(
            f"TIFF: expected tiles of at most {max_pixels:,} pixels, found {width}×{length}"
        )


def check_directories(data: bytes) -> None:
    """Raise `DecompressionBomb` where a TIFF has too many pages, or a loop of them."""
    order = ">" if data[:2] == b"MM" else "<"
    big = 43 in data[2:4]
    count, offset, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
    place, at = 8 if big else 4, struct.Struct(order + offset)
    for _ in range(_MOST_DIRECTORIES):
        if place + at.size > len(data):
            return
        (place,) = at.unpack_from(data, place)
        head = struct.Struct(order + count)
        if not place or place + head.size > len(data):
            return
        place += head.size + entry * head.unpack_from(data, place)[0]
    raise DecompressionBomb(f"TIFF: expected at most {_MOST_DIRECTORIES:,} pages, found more")
