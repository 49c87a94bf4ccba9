"""AVIF and HEIF: tiles decoded over and over for a small picture, and too many coded bytes.

A grid names its tiles, in two bytes each; libheif decodes a tile as often as it is named, and
paints what of it lies within the picture. Source: ISO/IEC 14496-12, 8.11, and 23008-12, 6.6.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from worker.errors import DecompressionBomb

_MOST_BYTES: Final = 64 * 2**20
"""A decoder takes a tenth of a microsecond for each; phones write less than 20 MB."""
_MOST_BOXES: Final = 20_000
"""At one level; libheif has the same limit."""
_MOST_DEPTH: Final = 8
"""Of pictures made of pictures: a phone's has two."""
_MOST_TIMES: Final = 2
"""Pixels of a picture's parts, over the pixels that are allowed."""

_Box = tuple[bytes, int, int]
"""Type, and where its body begins and ends."""


class _Items(NamedTuple):
    pixels: Mapping[int, int]
    """Of each item, as the file says; libheif refuses one that turns out larger."""
    parts: Mapping[int, Sequence[int]]
    """The items that a derived one is made of, as often as it names them."""


def check_length(data: bytes) -> None:
    """Raise `DecompressionBomb` for more coded bytes than can be decoded in time."""
    if len(data) > _MOST_BYTES:
        raise DecompressionBomb(
            f"AVIF or HEIF: expected at most {_MOST_BYTES:,} bytes, found {len(data):,}; "
            "store it as PNG or TIFF"
        )


def check_parts(data: bytes, max_pixels: int) -> None:
    """Raise `DecompressionBomb` where a picture is made of far more pixels than are allowed.

    What is broken is left to the decoder, which refuses it.
    """
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind != b"meta":
            continue
        try:
            items = _items(data, start + 4, end)
        except struct.error:
            continue
        costs: dict[int, int] = {}
        for item in items.parts:
            cost = _cost(item, items, costs, 0)
            if cost > _MOST_TIMES * max_pixels:
                raise DecompressionBomb(
                    f"HEIF: expected parts of at most {_MOST_TIMES * max_pixels:,} pixels "
                    f"together, found {cost:,}"
                )


def _cost(item: int, items: _Items, costs: dict[int, int], depth: int) -> int:
    """Pixels that are decoded for an item."""
    if depth > _MOST_DEPTH:
        raise DecompressionBomb(
            f"HEIF: expected pictures within pictures at most {_MOST_DEPTH} times, found more"
        )
    if item not in costs:
        parts = items.parts.get(item)
        costs[item] = (
            items.pixels.get(item, 0)
            if parts is None
            else sum(_cost(part, items, costs, depth + 1) for part in parts)
        )
    return costs[item]


def _items(data: bytes, start: int, end: int) -> _Items:
    sizes: list[int] = []
    pixels: dict[int, int] = {}
    parts: dict[int, list[int]] = defaultdict(list)
    within = {kind: (body, stop) for kind, body, stop in _boxes(data, start, end)}
    properties = {kind: place for kind, *place in _boxes(data, *within.get(b"iprp", (0, 0)))}
    for kind, body, _ in _boxes(data, *properties.get(b"ipco", (0, 0))):
        # Its place among the properties counts, whatever it is.
        width, height = struct.unpack_from(">II", data, body + 4) if kind == b"ispe" else (0, 0)
        sizes.append(width * height)
    for item, index in _associations(data, *properties.get(b"ipma", (0, 0))):
        if 0 < index <= len(sizes):
            pixels[item] = max(pixels.get(item, 0), sizes[index - 1])
    body, stop = within.get(b"iref", (0, 0))
    identity = ">I" if body < stop and data[body] else ">H"
    size = struct.calcsize(identity)
    for kind, place, _ in _boxes(data, body + 4, stop):
        if kind == b"dimg":
            (item,) = struct.unpack_from(identity, data, place)
            (count,) = struct.unpack_from(">H", data, place + size)
            named = f">{count}{identity[1]}"
            parts[item] += struct.unpack_from(named, data, place + size + 2)
    return _Items(pixels, parts)


def _associations(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Items and the numbers of their properties, which count from one."""
    if start == end:
        return
    version, wide = data[start], data[start + 3] & 1
    (entries,) = struct.unpack_from(">I", data, start + 4)
    place = start + 8
    for _ in range(min(entries, end - start)):
        (item,) = struct.unpack_from(">I" if version else ">H", data, place)
        place += 4 if version else 2
        (count,) = struct.unpack_from(">B", data, place)
        place += 1
        for _ in range(count):
            (index,) = struct.unpack_from(">H" if wide else ">B", data, place)
            place += 2 if wide else 1
            yield item, index & (0x7FFF if wide else 0x7F)


def _boxes(data: bytes, start: int, end: int) -> Iterator[_Box]:
    """The boxes between two places."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if length == 1 and start + 16 <= end:
            head, (length,) = 16, struct.unpack_from(">Q", data, start + 8)
        stop = min(start + length, end) if length else end
        if stop < start + head:
            return
        yield kind, start + head, stop
        start = stop
    raise DecompressionBomb(f"HEIF: expected at most {_MOST_BOXES:,} boxes, found more")
