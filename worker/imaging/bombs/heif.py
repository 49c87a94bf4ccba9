"""AVIF and HEIF: tiles that are decoded many times for a small picture, and too many coded bytes.

A grid names its tiles in two bytes each. libheif decodes a tile as often as it is named, and then
keeps the part within the picture. Source: ISO/IEC 14496-12, 8.11, and 23008-12, 6.6.
"""

import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from worker.errors import CorruptImage, DecompressionBomb
from worker.imaging.bombs import heif_coded
from worker.imaging.bombs.iso_boxes import all_associations, boxes, named, references

_MAX_BYTES: Final = 64 * 2**20
"""A decoder takes a tenth of a microsecond per byte; phones write less than 20 MB."""
_MAX_DEPTH: Final = 8
"""Nesting of pictures made of pictures; those of phones have two levels."""
_MAX_CODED_RATIO: Final = 1.05
"""Limit for a coded picture, relative to `max_pixels`: encoders fill up to whole blocks."""
_MAX_PARTS_RATIO: Final = 2
"""Limit for the pixels of all parts of a picture, relative to `max_pixels`."""


class _Items(NamedTuple):
    pixels: Mapping[int, int]
    """Pixels by item, as the file states."""
    parts: Mapping[int, Sequence[int]]
    """The items that a derived item consists of, as often as it names them."""


def decoded_pixels(data: bytes, max_pixels: int) -> int:
    """Return the pixels that are decoded at once: of the largest coded picture, or of all parts.

    The coded data are believed as well as the boxes. Raise `DecompressionBomb` for too many bytes,
    a picture with more than `max_pixels`, or parts with far more; `CorruptImage` for boxes that
    contradict each other.
    """
    if len(data) > _MAX_BYTES:
        raise DecompressionBomb(
            f"AVIF or HEIF: expected at most {_MAX_BYTES:,} bytes, found {len(data):,}; "
            "store it as PNG or TIFF"
        )

    largest = together = 0
    for kind, start, end in boxes(data, 0, len(data)):
        try:
            if kind == b"moov":
                largest = max(largest, heif_coded.sequence_pixels(data, start, end))
            if kind != b"meta":
                continue
            items = _items(data, start + 4, end)
            largest = max(largest, heif_coded.item_pixels(data, start + 4, end))
        except (struct.error, IndexError) as error:
            # A decoder might read what this module cannot.
            raise CorruptImage(f"AVIF or HEIF: boxes that cannot be read: {error}") from error
        largest = max(largest, *items.pixels.values(), 0)
        costs: dict[int, int] = {}
        for item in items.parts:
            cost = _cost(item, items, costs, 0)
            together = max(together, cost)
            if cost > _MAX_PARTS_RATIO * max_pixels:
                raise DecompressionBomb(
                    f"HEIF: expected parts of at most {_MAX_PARTS_RATIO * max_pixels:,} pixels "
                    f"together, found {cost:,}"
                )
    if largest > _MAX_CODED_RATIO * max_pixels:
        raise DecompressionBomb(
            f"AVIF or HEIF: expected coded pictures of at most {max_pixels:,} pixels "
            f"(CUTWORK_MAX_PIXELS), found one of {largest:,}"
        )
    return max(largest, together)


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
    within = named(data, start, end)
    properties = named(data, *within.get(b"iprp", (0, 0)))
    for kind, body, _ in boxes(data, *properties.get(b"ipco", (0, 0))):
        # Properties are numbered by position, so that those of other types count too.
        width, height = struct.unpack_from(">II", data, body + 4) if kind == b"ispe" else (0, 0)
        sizes.append(width * height)
    for item, index in all_associations(data, *within.get(b"iprp", (0, 0))):
        if 0 < index <= len(sizes):
            pixels[item] = max(pixels.get(item, 0), sizes[index - 1])
    for item, named_parts in references(data, *within.get(b"iref", (0, 0)), b"dimg"):
        parts[item] += named_parts
    return _Items(pixels, parts)
