"""The boundaries between the parts of a file, where a parser decides what comes next."""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final


def boundaries(name: str, data: bytes) -> list[int]:
    """Return the offsets between the parts of a valid file, without its end."""
    suffix = name.rpartition(".")[2]
    return sorted({place for place in _WALKS[suffix](data) if 0 < place < len(data)})


def _jpeg(data: bytes) -> Iterator[int]:
    """Yield the offsets of JPEG markers, their bodies and restart markers."""
    for match in re.finditer(rb"\xff[\xc0-\xfe]", data):
        yield from (match.start(), match.end() + 2)


def _png(data: bytes) -> Iterator[int]:
    """Yield the offsets of PNG chunks, their bodies and checksums."""
    place = 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        yield from (place, place + 8, place + 8 + length)
        place += 12 + length


def _gif(data: bytes) -> Iterator[int]:
    """Yield the offsets of a GIF's header, palette, extensions, frames and sub-blocks."""
    yield from (6, 13)
    place = 13 + (6 << (data[10] & 7) if data[10] & 128 else 0)
    while place < len(data) and data[place] != 0x3B:
        yield place
        if data[place] == 0x21:
            place += 2
        else:
            flags = data[place + 9]
            yield place + 10
            place += 10 + (6 << (flags & 7) if flags & 128 else 0)
            yield place
            place += 1
        while data[place]:
            yield place
            place += 1 + data[place]
        place += 1


def _tiff(data: bytes) -> Iterator[int]:
    """Yield the offsets of a TIFF's header, directory entries and their values."""
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    head, entry, at = ("Q", "HHQQ", "Q") if big else ("H", "HHII", "I")
    head, entry, at = order + head, order + entry, order + at
    place = struct.unpack_from(at, data, 8 if big else 4)[0]
    while place:
        yield place
        (count,) = struct.unpack_from(head, data, place)
        place += struct.calcsize(head)
        for _ in range(count):
            yield place
            value = struct.unpack_from(entry, data, place)[3]
            yield value
            place += struct.calcsize(entry)
        yield place
        (place,) = struct.unpack_from(at, data, place)


def _riff(data: bytes) -> Iterator[int]:
    """Yield the offsets of RIFF chunks: name, length, body."""
    yield from (4, 8)
    place = 12
    while place < len(data):
        length = struct.unpack_from("<I", data, place + 4)[0]
        yield from (place, place + 4, place + 8, place + 8 + length // 2, place + 8 + length)
        place += 8 + length + length % 2


def _iso(data: bytes, start: int = 0, end: int | None = None) -> Iterator[int]:
    """Yield the offsets of the boxes of an ISO base media file, nested ones included."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, start)
        yield from (start, start + 4, start + 8)
        inside = {b"meta": 12, b"iprp": 8, b"ipco": 8, b"iinf": 14}.get(kind)
        if inside:
            yield from _iso(data, start + inside, start + length)
        if length < 8:
            return
        start += length


def _bmp(data: bytes) -> Iterator[int]:
    """Yield the offsets of a BMP's two headers, palette and pixels."""
    yield from (2, 14, 18, 30, 54, struct.unpack_from("<I", data, 10)[0])


_WALKS: Final[Mapping[str, Callable[[bytes], Iterator[int]]]] = {
    "jpg": _jpeg,
    "png": _png,
    "gif": _gif,
    "tif": _tiff,
    "webp": _riff,
    "avif": _iso,
    "heic": _iso,
    "bmp": _bmp,
}
