"""The boxes of ISO base media files, which AVIF and HEIF are. Source: ISO/IEC 14496-12, 4.2."""

import struct
from collections.abc import Iterator
from typing import Final

from worker.errors import DecompressionBomb

_MAX_BOXES: Final = 20_000
"""Boxes at one level; libheif has the same limit."""

SAMPLE_ENTRY_BYTES: Final = 78
"""The part of a visual sample entry before its boxes."""

_ONCE: Final = frozenset(
    {b"iloc", b"iinf", b"iref", b"iprp", b"ipco", b"idat", b"stsd", b"stsz", b"stco", b"co64"}
)

Box = tuple[bytes, int, int]
"""Type, and the offsets at which its body begins and ends."""


def all_associations(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the associations of all `ipma` boxes of an `iprp` box."""
    for kind, body, stop in boxes(data, start, end):
        if kind == b"ipma":
            yield from _associations(data, body, stop)


def _associations(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield items and the numbers of their properties, counted from one, of an `ipma` box."""
    version, has_wide_index = data[start], data[start + 3] & 1
    (entries,) = struct.unpack_from(">I", data, start + 4)
    position = start + 8
    for _ in range(min(entries, end - start)):
        (item,) = struct.unpack_from(">I" if version else ">H", data, position)
        position += 4 if version else 2
        (count,) = struct.unpack_from(">B", data, position)
        position += 1
        for _ in range(count):
            (index,) = struct.unpack_from(">H" if has_wide_index else ">B", data, position)
            position += 2 if has_wide_index else 1
            yield item, index & (0x7FFF if has_wide_index else 0x7F)


def references(
    data: bytes, start: int, end: int, wanted: bytes
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield items and those that they refer to by a type of reference, of an `iref` box."""
    if start == end:
        return
    form = "I" if data[start] else "H"
    head = struct.Struct(f">{form}H")
    for kind, position, _ in boxes(data, start + 4, end):
        if kind == wanted:
            item, count = head.unpack_from(data, position)
            yield item, struct.unpack_from(f">{count}{form}", data, position + head.size)


def named(data: bytes, start: int, end: int) -> dict[bytes, tuple[int, int]]:
    """Return the bounds of the bodies of the boxes between two offsets, by type.

    Raise `struct.error` if there are several of a type that must be there once.
    """
    found: dict[bytes, tuple[int, int]] = {}
    for kind, body, stop in boxes(data, start, end):
        if kind in found and kind in _ONCE:
            raise struct.error(f"expected one box {kind.decode()}, found more")
        found[kind] = (body, stop)
    return found


def boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two offsets."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if length == 1 and start + 16 <= end:
            header, (length,) = 16, struct.unpack_from(">Q", data, start + 8)
        stop = min(start + length, end) if length else end
        if stop < start + header:
            return
        yield kind, start + header, stop
        start = stop
    raise DecompressionBomb(f"HEIF: expected at most {_MAX_BOXES:,} boxes, found more")
