"""The tags of a TIFF directory that decide about its pixels, read without an object per value.

Source: TIFF 6.0, section 2; https://www.awaresystems.be/imaging/tiff/bigtiff.html.
"""

import io
import struct
from enum import IntEnum
from typing import Final, Literal

from worker.errors import CorruptImage, DecompressionBomb
from worker.imaging.bombs import tiff


class Tag(IntEnum):
    """The tags that are read."""

    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    ORIENTATION = 274
    SAMPLES = 277
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANES = 284
    RESOLUTION_UNIT = 296
    PRIMARY_CHROMATICITIES = 319
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    YCBCR_COEFFICIENTS = 529
    YCBCR_SUBSAMPLING = 530
    XMP = 700
    ICC_PROFILE = 34675


Numbers = tuple[float, ...]
_MAX_NUMBERS: Final = 2**10
"""Values of a tag that are looked at; more samples than this are not a picture."""
_BYTES: Final = (1, 2, 6, 7)
"""Types of one byte, which ICC profiles and XMP have."""
_NUMBERS: Final = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I"} | {
    16: "Q",
    17: "q",
    18: "Q",
}
_RATIONALS: Final = {5: "II", 10: "ii"}
_MAX_OVERLAP: Final = 2
"""Limit for the values of all tags together, relative to the file: libtiff copies each of them."""
_TAGS: Final = frozenset(Tag)


class Directory:
    """The known tags of one directory."""

    def __init__(
        self,
        numbers: dict[int, Numbers],
        blobs: dict[int, bytes],
        places: dict[int, int],
        value_bytes: int,
    ) -> None:
        self._numbers, self._blobs, self._places = numbers, blobs, places
        self.value_bytes = value_bytes
        """Bytes of the values of all tags, known or not."""

    def numbers(self, tag: Tag) -> Numbers:
        """Return a tag's values; none if the directory does not have it."""
        return self._numbers.get(tag, ())

    def number(self, tag: Tag, default: int) -> int:
        """Return a tag's first value."""
        return int(next(iter(self.numbers(tag)), default))

    def blob(self, tag: Tag) -> bytes | None:
        """Return a tag's bytes; None if the directory does not have it."""
        return self._blobs.get(tag)

    def replace_short(self, data: bytes, tag: Tag, value: int) -> bytes:
        """Return a copy of the file in which a tag that it has, of 16 bits, has another value."""
        place = self._places[tag]
        order: Literal["big", "little"] = "big" if data[:2] == b"MM" else "little"
        return data[:place] + value.to_bytes(2, order) + data[place + 2 :]


def read_directory(data: bytes) -> Directory:
    """Return the first directory; raise `CorruptImage` if there is none, or `DecompressionBomb`."""
    big_endian, bigtiff = data[:2] == b"MM", 43 in data[2:4]
    order = ">" if big_endian else "<"
    head = struct.Struct(order + ("8xQ" if bigtiff else "4xI"))
    count = struct.Struct(order + ("Q" if bigtiff else "H"))
    entry = struct.Struct(order + ("HHQ8s" if bigtiff else "HHI4s"))
    offset_of = struct.Struct(order + ("Q" if bigtiff else "I"))
    try:
        (position,) = head.unpack_from(data)
        (entries,) = count.unpack_from(data, position)
    except struct.error as error:
        raise CorruptImage(f"expected a TIFF directory, found none: {error}") from error
    file = io.BytesIO(data)
    file.seek(position)
    tiff.check_directory(file, big_endian=big_endian, bigtiff=bigtiff)
    start = position + count.size
    entries = min(entries, max(len(data) - start, 0) // entry.size)
    table = data[start : start + entries * entry.size]
    numbers: dict[int, Numbers] = {}
    blobs: dict[int, bytes] = {}
    places: dict[int, int] = {}
    value_bytes = 0
    for index, (tag, kind, values, field) in enumerate(entry.iter_unpack(table)):
        form = "s" if kind in _BYTES else _NUMBERS.get(kind) or _RATIONALS.get(kind)
        if form is None:
            continue
        length = values * struct.calcsize(order + form)
        if length <= len(data):
            value_bytes += length
            if value_bytes > _MAX_OVERLAP * len(data):
                raise DecompressionBomb(
                    f"TIFF: expected tags with values of at most {_MAX_OVERLAP * len(data):,} "
                    "bytes, twice the file, found more"
                )
        # Of a tag that occurs several times, the first one counts.
        if tag not in _TAGS or tag in numbers or tag in blobs:
            continue
        places[tag] = start + (index + 1) * entry.size - len(field)
        place = 0 if length <= len(field) else offset_of.unpack(field)[0]
        source = field if length <= len(field) else data
        if place + length > len(data):
            continue
        if tag in (Tag.ICC_PROFILE, Tag.XMP):
            blobs[tag] = source[place : place + length]
        elif kind in _RATIONALS or kind in _NUMBERS:
            read = struct.unpack_from(f"{order}{form * min(values, _MAX_NUMBERS)}", source, place)
            if kind in _RATIONALS:
                read = tuple(
                    top / bottom if bottom else 0.0
                    for top, bottom in zip(read[::2], read[1::2], strict=True)
                )
            numbers[tag] = read
    return Directory(numbers, blobs, places, value_bytes)
