"""The code points for colour in a HEIC or AVIF: its `colr` boxes of type `nclx`.

Source: ISO/IEC 14496-12, 12.1.5, and 23008-12, 6.5.5.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from worker.imaging.bombs.iso_boxes import associations, boxes
from worker.imaging.colour.code_points import CodePoints

_TRACK: Final = (b"trak", b"mdia", b"minf", b"stbl", b"stsd")
"""The boxes within `moov`, from the outside in, down to the descriptions of a track's samples."""
_SAMPLE_HEADER_BYTES: Final = 78
"""Fields of a visual sample entry before the boxes within it."""

_Span = tuple[int, int]
"""Where the content of a box begins and ends."""


def nclx_code_points(data: bytes) -> CodePoints | None:
    """Return what the primary picture states; None if nothing, or if its boxes are broken."""
    try:
        for kind, start, end in boxes(data, 0, len(data)):
            if kind == b"meta" and (points := _of_primary_item(data, start + 4, end)):
                return points
        for start, end in _within(data, (0, len(data)), (b"moov", *_TRACK)):
            for _, body, stop in boxes(data, start + 8, end):
                for kind, *span in boxes(data, body + _SAMPLE_HEADER_BYTES, stop):
                    if kind == b"colr" and (points := _nclx(data, (span[0], span[1]))):
                        return points
    except (struct.error, IndexError):
        # The decoder refuses such a file, or finds its picture elsewhere.
        return None
    return None


def _of_primary_item(data: bytes, start: int, end: int) -> CodePoints | None:
    """Return the code points of a `meta` box's primary item, or of the parts it consists of."""
    within = {kind: (body, stop) for kind, body, stop in boxes(data, start, end)}
    if b"pitm" not in within:
        return None
    primary = _item_id(data, within[b"pitm"][0])
    properties = [
        (kind, (body, stop))
        for span in _within(data, within.get(b"iprp", (0, 0)), (b"ipco",))
        for kind, body, stop in boxes(data, *span)
    ]
    colours: dict[int, CodePoints] = {}
    for span in _within(data, within.get(b"iprp", (0, 0)), (b"ipma",)):
        for item, index in associations(data, *span):
            kind, place = properties[index - 1] if 0 < index <= len(properties) else (b"", (0, 0))
            points = _nclx(data, place) if kind == b"colr" else None
            if points is not None:
                colours.setdefault(item, points)
    if primary in colours:
        return colours[primary]
    # A grid without a colour of its own has that of its tiles; other items than those of the
    # picture (alpha, depth) state no primaries.
    return next(iter(colours.values()), None)


def _item_id(data: bytes, start: int) -> int:
    (item,) = struct.unpack_from(">I" if data[start] else ">H", data, start + 4)
    return int(item)


def _nclx(data: bytes, span: _Span) -> CodePoints | None:
    start, end = span
    if end - start < 8 or data[start : start + 4] != b"nclx":
        return None
    return CodePoints(*struct.unpack_from(">HH", data, start + 4))


def _within(data: bytes, span: _Span, path: Sequence[bytes]) -> Iterator[_Span]:
    """Yield the contents of the boxes at the end of a path of box types."""
    if not path:
        yield span
        return
    for kind, body, stop in boxes(data, *span):
        if kind == path[0]:
            yield from _within(data, (body, stop), path[1:])
