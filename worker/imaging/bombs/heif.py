"""AVIF and HEIF: tiles that are decoded many times for a small picture, and too many coded bytes.

A grid names its tiles in two bytes each. libheif decodes a tile as often as it is named, and then
keeps the part within the picture. Source: ISO/IEC 14496-12, 8.11, and 23008-12, 6.6.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from worker.errors import DecompressionBomb

_MAX_BYTES: Final = 64 * 2**20
"""A decoder takes a tenth of a microsecond per byte; phones write less than 20 MB."""
_MAX_BOXES: Final = 20_000
"""Boxes at one level; libheif has the same limit."""
_MAX_DEPTH: Final = 8
"""Nesting of pictures made of pictures; those of phones have two levels."""
_MAX_PARTS_RATIO: Final = 2
"""Limit for the pixels of all parts of a picture, relative to `max_pixels`."""

_Box = tuple[bytes, int, int]
"""Type, and the offsets at which its body begins and ends."""


class _Items(NamedTuple):
    pixels: Mapping[int, int]
    """Pixels by item, as the file states; libheif refuses an item that turns out larger."""
    parts: Mapping[int, Sequence[int]]
    """The items that a derived item consists of, as often as it names them."""


def check_cost(data: bytes, max_pixels: int) -> None:
    """Raise `DecompressionBomb` for too many bytes, or parts with far more pixels than are allowed.

    Broken files pass, because the decoder refuses them.
    """
    if len(data) > _MAX_BYTES:
        raise DecompressionBomb(
            f"AVIF or HEIF: expected at most {_MAX_BYTES:,} bytes, found {len(data):,}; "
            "store it as PNG or TIFF"
        )

    for kind, start, end in boxes(data, 0, len(data)):
        if kind != b"meta":
            continue
        try:
            items = _items(data, start + 4, end)
        except struct.error:
            continue
        costs: dict[int, int] = {}
        for item in items.parts:
            cost = _cost(item, items, costs, 0)
            if cost > _MAX_PARTS_RATIO * max_pixels:
                raise DecompressionBomb(
                    f"HEIF: expected parts of at most {_MAX_PARTS_RATIO * max_pixels:,} pixels "
                    f"together, found {cost:,}"
                )


def _cost(item: int, items: _Items, costs: dict[int, int], depth: int) -> int:
    """Return the pixels that are decoded for an item."""
    if depth > _MAX_DEPTH:
        raise DecompressionBomb(
            f"HEIF: expected pictures within pictures at most {_MAX_DEPTH} times, found more"
        )
    if item not in costs:
        if item in items.parts:
            costs[item] = sum(_cost(part, items, costs, depth + 1) for part in items.parts[item])
        else:
            costs[item] = items.pixels.get(item, 0)
    return costs[item]


def _items(data: bytes, start: int, end: int) -> _Items:
    sizes: list[int] = []
    pixels: dict[int, int] = {}
    parts: dict[int, list[int]] = defaultdict(list)
    within = {kind: (body, stop) for kind, body, stop in boxes(data, start, end)}
    properties = {kind: bounds for kind, *bounds in boxes(data, *within.get(b"iprp", (0, 0)))}
    for kind, body, _ in boxes(data, *properties.get(b"ipco", (0, 0))):
        # Properties are numbered by position, so that those of other types count too.
        width, height = struct.unpack_from(">II", data, body + 4) if kind == b"ispe" else (0, 0)
        sizes.append(width * height)
    for item, index in associations(data, *properties.get(b"ipma", (0, 0))):
        if 0 < index <= len(sizes):
            pixels[item] = max(pixels.get(item, 0), sizes[index - 1])
    body, stop = within.get(b"iref", (0, 0))
    id_format = ">I" if body < stop and data[body] else ">H"
    size = struct.calcsize(id_format)
    for kind, position, _ in boxes(data, body + 4, stop):
        if kind == b"dimg":
            (item,) = struct.unpack_from(id_format, data, position)
            (count,) = struct.unpack_from(">H", data, position + size)
            ids_format = f">{count}{id_format[1]}"
            parts[item] += struct.unpack_from(ids_format, data, position + size + 2)
    return _Items(pixels, parts)


def associations(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield items and the numbers of their properties, counted from one."""
    if start == end:
        return
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


def boxes(data: bytes, start: int, end: int) -> Iterator[_Box]:
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
