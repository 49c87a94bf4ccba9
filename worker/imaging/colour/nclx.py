"""The code points for colour in a HEIC or AVIF: its `colr` boxes of type `nclx`.

Source: ISO/IEC 14496-12, 12.1.5, and 23008-12, 6.5.5.
"""

import struct
from itertools import islice
from typing import Final

from worker.imaging.bombs import av1
from worker.imaging.bombs.heif_coded import item_data
from worker.imaging.bombs.iso_boxes import SAMPLE_ENTRY_BYTES, all_associations, boxes, references
from worker.imaging.colour.code_points import CodePoints

_BRAND: Final = slice(8, 12)
_ANIMATED: Final = b"avis"
"""The major brand of files of which libavif reads the track."""
_TRACK: Final = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
"""The boxes down to the descriptions of a track's samples, each within the one before it."""
_HEADER_BYTES: Final = 1_024
"""Of an item's data, which begin with the sequence header."""
_MAX_ASSOCIATIONS: Final = 100_000
"""Properties of all items that are looked at; a grid of phones has a few hundred."""

_Span = tuple[int, int]
"""Where the content of a box begins and ends."""


def nclx_code_points(data: bytes) -> CodePoints | None:
    """Return what the primary picture states, or of an animation its first track.

    Return None if they state nothing, or if the boxes are broken.
    """
    try:
        if data[_BRAND] == _ANIMATED and (points := _of_track(data)) is not None:
            return points
        meta = _first(data, (0, len(data)), b"meta")
        return None if meta is None else _of_primary_item(data, (meta[0] + 4, meta[1]))
    except (struct.error, IndexError):
        # The decoder refuses such a file, or finds its picture elsewhere.
        return None


def _of_track(data: bytes) -> CodePoints | None:
    samples = _first(data, (0, len(data)), *_TRACK)
    if samples is None:
        return None
    for _, start, end in boxes(data, samples[0] + 8, samples[1]):
        colour = _first(data, (start + SAMPLE_ENTRY_BYTES, end), b"colr")
        return None if colour is None else _nclx(data, colour)
    return None


def _of_primary_item(data: bytes, meta: _Span) -> CodePoints | None:
    """Return the code points of a `meta` box's primary item, or of the parts it consists of."""
    primary = _first(data, meta, b"pitm")
    properties = _first(data, meta, b"iprp")
    container = _first(data, meta, b"iprp", b"ipco")
    if primary is None or properties is None or container is None:
        return None
    # Properties are numbered by position, so that those of other types count too.
    stated = [
        _nclx(data, (start, end)) if kind == b"colr" else None
        for kind, start, end in boxes(data, *container)
    ]
    colours: dict[int, CodePoints] = {}
    for item, index in islice(all_associations(data, *properties), _MAX_ASSOCIATIONS):
        points = stated[index - 1] if 0 < index <= len(stated) else None
        if points is not None:
            colours.setdefault(item, points)
    (item,) = struct.unpack_from(">I" if data[primary[0]] else ">H", data, primary[0] + 4)
    # A grid without a colour of its own has that of its first tile.
    tile = _first_part(data, meta, item)
    points = colours.get(item) or colours.get(tile)
    if points is not None or _first(data, container, b"av1C") is None:
        return points
    return _of_av1(item_data(data, *meta, item if tile < 0 else tile, limit=_HEADER_BYTES))


def _of_av1(stream: bytes) -> CodePoints | None:
    """Return what a stream says itself; libavif falls back to it too."""
    points = av1.stated_colour(stream)
    return None if points is None else CodePoints(*points)


def _first_part(data: bytes, meta: _Span, item: int) -> int:
    """Return the first of the items that a derived item consists of; -1 if it is none."""
    box = _first(data, meta, b"iref") or (0, 0)
    parts = (parts for derived, parts in references(data, *box, b"dimg") if derived == item)
    return next((some[0] for some in parts if some), -1)


def _nclx(data: bytes, span: _Span) -> CodePoints | None:
    start, end = span
    if end - start < 8 or data[start : start + 4] != b"nclx":
        return None
    return CodePoints(*struct.unpack_from(">HH", data, start + 4))


def _first(data: bytes, span: _Span, *path: bytes) -> _Span | None:
    """Return the content of the first box of each type within that of the type before it."""
    for wanted in path:
        found = next(((a, b) for kind, a, b in boxes(data, *span) if kind == wanted), None)
        if found is None:
            return None
        span = found
    return span
