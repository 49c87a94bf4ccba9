"""The picture that is taken of an AVIF or HEIF: the boxes that describe it, and its coded data.

Source: ISO/IEC 14496-12, 8.5.2 and 8.11, and 23008-12, 6.5.
"""

import struct
from collections import defaultdict
from itertools import islice
from typing import Final, NamedTuple

from worker.imaging.bombs.heif_coded import item_data
from worker.imaging.bombs.iso_boxes import (
    SAMPLE_ENTRY_BYTES,
    Box,
    all_associations,
    boxes,
    references,
)

_BRAND: Final = slice(8, 12)
_ANIMATED: Final = b"avis"
"""The major brand of files of which libavif reads the track."""
_TRACK: Final = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
"""The boxes down to the descriptions of a track's samples, each within the one before it."""
_HEADER_BYTES: Final = 4_096
"""Of an item's data, which begin with the parameters of the stream."""
_MAX_ASSOCIATIONS: Final = 100_000
"""Properties of all items that are looked at; a grid of phones has a few hundred."""
_MORE_THAN_EIGHT, _TWELVE_BITS = 64, 32
"""Flags in the third byte of `av1C`."""

_Span = tuple[int, int]
"""Where the content of a box begins and ends."""


class Picture(NamedTuple):
    """What a file says of a picture."""

    boxes: tuple[Box, ...]
    """Those that describe it; for a grid those of the grid, then those of its first tile."""
    stream: bytes
    """The beginning of its coded data, or of those of its first tile."""

    def first(self, wanted: bytes) -> _Span | None:
        """Return the content of the first box of a type."""
        return next(((start, end) for kind, start, end in self.boxes if kind == wanted), None)


def is_animated(data: bytes) -> bool:
    """Return whether a file is an animation, of which libavif reads the track."""
    return data[_BRAND] == _ANIMATED


def first_of_track(data: bytes) -> Picture | None:
    """Return the first picture of the first track, without its coded data; None without a track.

    Raise `struct.error` or `IndexError` for broken boxes.
    """
    samples = _first(data, (0, len(data)), *_TRACK)
    if samples is None:
        return None
    for _, start, end in boxes(data, samples[0] + 8, samples[1]):
        return Picture(tuple(boxes(data, start + SAMPLE_ENTRY_BYTES, end)), b"")
    return None


def primary_picture(data: bytes) -> Picture | None:
    """Return the primary picture; None without one.

    Raise `struct.error` or `IndexError` for broken boxes.
    """
    meta = _meta(data)
    primary = _first(data, meta, b"pitm")
    properties = _first(data, meta, b"iprp")
    container = _first(data, meta, b"iprp", b"ipco")
    if primary is None or properties is None or container is None:
        return None
    (item,) = struct.unpack_from(">I" if data[primary[0]] else ">H", data, primary[0] + 4)
    tile = _first_part(data, meta, item)
    # Properties are numbered by position.
    known = list(boxes(data, *container))
    found = defaultdict[int, list[Box]](list)
    for owner, index in islice(all_associations(data, *properties), _MAX_ASSOCIATIONS):
        if owner in (item, tile) and 0 < index <= len(known):
            found[owner].append(known[index - 1])
    stream = item_data(data, *meta, item if tile < 0 else tile, limit=_HEADER_BYTES)
    return Picture((*found[item], *found[tile]), stream)


def av1_bits(data: bytes) -> int:
    """Return the bits per channel of the primary picture of an AVIF, or of its first track."""
    try:
        picture = primary_picture(data) or first_of_track(data)
        box = None if picture is None else picture.first(b"av1C")
        if box is None or box[1] - box[0] < 3:
            return 8
    except (struct.error, IndexError):
        return 8
    flags = data[box[0] + 2]
    return (12 if flags & _TWELVE_BITS else 10) if flags & _MORE_THAN_EIGHT else 8


def is_premultiplied(data: bytes) -> bool:
    """Return whether the colours of a picture are multiplied by an alpha of another item."""
    try:
        references_box = _first(data, _meta(data), b"iref") or (0, 0)
        return any(references(data, *references_box, b"prem"))
    except (struct.error, IndexError):
        return False


def _meta(data: bytes) -> _Span:
    """Return where the boxes within `meta` are, an empty span without one."""
    start, end = _first(data, (0, len(data)), b"meta") or (0, 0)
    return (min(start + 4, end), end)


def _first_part(data: bytes, meta: _Span, item: int) -> int:
    """Return the first of the items that a derived item consists of; -1 if it is none."""
    box = _first(data, meta, b"iref") or (0, 0)
    parts = (parts for derived, parts in references(data, *box, b"dimg") if derived == item)
    return next((some[0] for some in parts if some), -1)


def _first(data: bytes, span: _Span, *path: bytes) -> _Span | None:
    """Return the content of the first box of each type within that of the type before it."""
    for wanted in path:
        found = next(((a, b) for kind, a, b in boxes(data, *span) if kind == wanted), None)
        if found is None:
            return None
        span = found
    return span
