"""The tags of a TIFF directory that decide about its pixels, read without Pillow.

Pillow reads every entry, makes an object of each value, and does not know big-endian BigTIFF.
Source: TIFF 6.0, section 2; https://www.awaresystems.be/imaging/tiff/bigtiff.html.
"""

import io
import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from worker.errors import CorruptImage, DecompressionBomb
from worker.imaging.bombs import tiff


class Tag(IntEnum):
    """The tags that are read."""

    NEW_SUBFILE_TYPE = 254
    SUBFILE_TYPE = 255
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_LENGTHS = 279
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANES = 284
    GREY_RESPONSE_CURVE = 291
    RESOLUTION_UNIT = 296
    TRANSFER_FUNCTION = 301
    PREDICTOR = 317
    WHITE_POINT = 318
    PRIMARY_CHROMATICITIES = 319
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_LENGTHS = 325
    SUB_IFDS = 330
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    YCBCR_COEFFICIENTS = 529
    YCBCR_SUBSAMPLING = 530
    REFERENCE_BLACK_WHITE = 532
    XMP = 700
    ICC_PROFILE = 34675
    EXIF = 34665
    COLOR_SPACE = 40961


SHORT: Final = 3
TYPES: Final[Mapping[int, str]] = dict(
    zip(
        (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18),
        ("B", "s", "H", "I", "II", "b", "s", "h", "i", "ii", "f", "d", "I", "Q", "q", "Q"),
        strict=True,
    )
)
"""Format characters of a value, by type."""
_RATIONALS: Final = (5, 10)
_MAX_NUMBERS: Final = 2**10
"""Values of a tag that are looked at; more samples than this are not a picture."""
_MAX_OVERLAP: Final = 2
"""Limit for the values of all tags together, relative to the file: libtiff copies each of them."""
_TAGS: Final = frozenset(Tag)
_METADATA: Final = frozenset(
    {
        *(Tag.X_RESOLUTION, Tag.Y_RESOLUTION, Tag.XMP, Tag.SUB_IFDS, Tag.EXIF, Tag.COLOR_SPACE),
        *(Tag.ICC_PROFILE, Tag.PRIMARY_CHROMATICITIES, Tag.WHITE_POINT, Tag.TRANSFER_FUNCTION),
        *(Tag.GREY_RESPONSE_CURVE, Tag.REFERENCE_BLACK_WHITE),
    }
)
"""Tags without which the pixels can still be read."""
_CUT_SHORT: Final = (
    "expected a complete TIFF, found the end of the file before {}; the upload may have been cut "
    "short"
)


class Entry(NamedTuple):
    """A tag's type, and its values as stored."""

    kind: int
    values: bytes


class Form(NamedTuple):
    """The byte order of a TIFF, and whether it is a BigTIFF."""

    order: str
    bigtiff: bool

    @property
    def head(self) -> struct.Struct:
        """Return the layout of the header: what comes before the first offset, and that offset."""
        return struct.Struct(self.order + ("8sQ" if self.bigtiff else "4sI"))

    @property
    def entries(self) -> struct.Struct:
        """Return the layout of the number of entries in a directory."""
        return struct.Struct(self.order + ("Q" if self.bigtiff else "H"))

    @property
    def offset(self) -> struct.Struct:
        """Return the layout of an offset."""
        return struct.Struct(self.order + ("Q" if self.bigtiff else "I"))

    @property
    def entry(self) -> struct.Struct:
        """Return the layout of an entry: tag, type, number of values, values or their offset."""
        return struct.Struct(self.order + ("HHQ8s" if self.bigtiff else "HHI4s"))


class Directory(NamedTuple):
    """The known tags of one directory."""

    form: Form
    entries: Mapping[int, Entry]
    value_bytes: int
    """Bytes of the values of all tags, known or not."""
    start: int
    """Its offset in the file."""
    end: int
    """The offset of its last field, which is the offset of the next directory."""
    next: int
    """The offset of the next directory; 0 if there is none."""
    size: int
    """The number of all tags, known or not."""

    @property
    def pixels(self) -> int:
        """Return the width times the height."""
        return self.number(Tag.WIDTH, 0) * self.number(Tag.HEIGHT, 0)

    def numbers(self, tag: Tag) -> tuple[float, ...]:
        """Return a tag's values; none if the directory does not have it."""
        entry = self.entries.get(tag)
        if entry is None or TYPES[entry.kind] == "s":
            return ()
        layout = struct.Struct(self.form.order + TYPES[entry.kind])
        values = entry.values[: _MAX_NUMBERS * layout.size]
        if entry.kind in _RATIONALS:
            return tuple(a / b if b else 0.0 for a, b in layout.iter_unpack(values))
        return tuple(value for (value,) in layout.iter_unpack(values))

    def number(self, tag: Tag, default: int) -> int:
        """Return a tag's first value."""
        first = next(iter(self.numbers(tag)), default)
        return int(first) if abs(first) < 2**63 else default

    def blob(self, tag: Tag) -> bytes | None:
        """Return a tag's bytes; None if the directory does not have it."""
        entry = self.entries.get(tag)
        return None if entry is None else entry.values


def read_directory(data: bytes, position: int | None = None) -> Directory:
    """Return the directory at an offset, or the first one.

    Raises `CorruptImage` if there is none, or `DecompressionBomb`.
    """
    form = Form(order=">" if data[:2] == b"MM" else "<", bigtiff=43 in data[2:4])
    try:
        if position is None:
            _, position = form.head.unpack_from(data)
        (count,) = form.entries.unpack_from(data, position)
    except (struct.error, OverflowError) as error:
        raise CorruptImage(f"expected a TIFF directory, found none: {error}") from error
    file = io.BytesIO(data)
    file.seek(position)
    tiff.check_directory(file, big_endian=form.order == ">", bigtiff=form.bigtiff)
    start = position + form.entries.size
    if count > max(len(data) - start, 0) // form.entry.size:
        raise CorruptImage(_CUT_SHORT.format(f"some of {count:,} tags"))
    table = data[start : start + count * form.entry.size]
    entries: dict[int, Entry] = {}
    value_bytes = 0
    for tag, kind, values, field in form.entry.iter_unpack(table):
        if kind not in TYPES:
            continue
        length = values * struct.calcsize(form.order + TYPES[kind])
        if length <= len(data):
            value_bytes += length
            if value_bytes > _MAX_OVERLAP * len(data):
                raise DecompressionBomb(
                    f"TIFF: expected tags with values of at most {_MAX_OVERLAP * len(data):,} "
                    "bytes, twice the file, found more"
                )
        # Of a tag that occurs several times, the first one counts.
        if tag not in _TAGS or tag in entries:
            continue
        if length <= len(field):
            entries[tag] = Entry(kind, field[:length])
            continue
        (place,) = form.offset.unpack(field)
        if place + length <= len(data):
            entries[tag] = Entry(kind, data[place : place + length])
        elif tag not in _METADATA:
            raise CorruptImage(_CUT_SHORT.format(f"the values of {Tag(tag).name}"))
    end = start + count * form.entry.size
    pointer = data[end : end + form.offset.size].ljust(form.offset.size, b"\0")
    (following,) = form.offset.unpack(pointer)
    return Directory(form, entries, value_bytes, position, end, following, count)
