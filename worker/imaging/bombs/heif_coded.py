"""AVIF and HEIF: what their coded data say about sizes, whatever their boxes say.

Sources: ISO/IEC 14496-12, 8.11 and 8.5 to 8.7; https://aomediacodec.github.io/av1-avif/.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from worker.errors import DecompressionBomb
from worker.imaging.bombs import av1, hevc
from worker.imaging.bombs.iso_boxes import SAMPLE_ENTRY_BYTES, Box, all_associations, boxes, named
from worker.imaging.bombs.metadata import check_metadata

_MAX_ITEMS: Final = 2_000
"""Coded pictures at different places. Phones write 800 tiles for 200 megapixels."""
_MAX_COPIES: Final = 2
"""Limit for the bytes of all items in several parts, relative to the file."""
_CODED: Final = {b"av1C", b"hvcC"}
_TRACK: Final = (b"trak", b"mdia", b"minf", b"stbl")
_ENTRIES_OFFSET: Final = 8
"""Of the first entry in the tables of a track."""

_Extents = tuple[tuple[int, int], ...]
"""Offsets and lengths of the parts of an item, within the file."""


def item_pixels(data: bytes, start: int, end: int) -> int:
    """Return the pixels of the largest coded item of a `meta` box.

    Raise `DecompressionBomb` for too many items, or too much metadata; `struct.error` or
    `IndexError` for a broken file.
    """
    within = named(data, start, end)
    places = _places(data, *within.get(b"iloc", (0, 0)), idat=within.get(b"idat", (0, 0))[0])
    _check_metadata(data, within, places)
    properties = named(data, *within.get(b"iprp", (0, 0)))
    all_boxes = list(boxes(data, *properties.get(b"ipco", (0, 0))))
    found: set[tuple[Box, _Extents]] = set()
    for item, index in all_associations(data, *within.get(b"iprp", (0, 0))):
        if 0 < index <= len(all_boxes) and all_boxes[index - 1][0] in _CODED:
            found.add((all_boxes[index - 1], places.get(item, ())))
    if len(found) > _MAX_ITEMS:
        raise DecompressionBomb(
            f"AVIF or HEIF: expected at most {_MAX_ITEMS:,} coded items, found {len(found):,}"
        )
    if sum(_length(extents) for _, extents in found if len(extents) > 1) > _MAX_COPIES * len(data):
        raise DecompressionBomb("AVIF or HEIF: expected items that share no data, found some")
    return max((_pixels(data, box, extents) for box, extents in found), default=0)


def item_data(data: bytes, start: int, end: int, item: int, *, limit: int) -> bytes:
    """Return the first bytes of an item of a `meta` box, at most `limit`.

    Raise `struct.error` or `IndexError` for a broken file.
    """
    within = named(data, start, end)
    places = _places(data, *within.get(b"iloc", (0, 0)), idat=within.get(b"idat", (0, 0))[0])
    parts = (data[offset : offset + min(length, limit)] for offset, length in places.get(item, ()))
    return b"".join(islice(parts, limit))[:limit]


def sequence_pixels(data: bytes, start: int, end: int) -> int:
    """Return the pixels of the largest first sample of the tracks in a `moov` box.

    Raise `struct.error` or `IndexError` for a broken file.
    """
    tables = [(b"moov", start, end)]
    for name in _TRACK:
        tables = [
            box for _, body, stop in tables for box in boxes(data, body, stop) if box[0] == name
        ]
    largest = 0
    for _, body, stop in tables:
        within = named(data, body, stop)
        extents = _first_sample(data, within)
        entries = within.get(b"stsd", (0, 0))
        for _, entry, entry_end in boxes(data, entries[0] + _ENTRIES_OFFSET, entries[1]):
            for box in boxes(data, entry + SAMPLE_ENTRY_BYTES, entry_end):
                if box[0] in _CODED:
                    largest = max(largest, _pixels(data, box, extents))
    return largest


def _pixels(data: bytes, box: Box, extents: _Extents) -> int:
    """Return the pixels that a configuration and the coded data state."""
    kind, body, stop = box
    coded = b"".join(data[offset : offset + length] for offset, length in extents)
    if kind == b"av1C":
        return max(av1.coded_pixels(data[body + 4 : stop]), av1.coded_pixels(coded))
    configuration = data[body:stop]
    return max(hevc.configured_pixels(configuration), hevc.coded_pixels(coded, configuration))


def _first_sample(data: bytes, within: Mapping[bytes, tuple[int, int]]) -> _Extents:
    """Return where the first sample of a track is."""
    if b"stsz" not in within or not within.keys() & {b"stco", b"co64"}:
        return ()
    (length,) = struct.unpack_from(">I", data, within[b"stsz"][0] + 4)
    if not length:
        (length,) = struct.unpack_from(">I", data, within[b"stsz"][0] + 12)
    name, form = (b"co64", ">Q") if b"co64" in within else (b"stco", ">I")
    return ((*struct.unpack_from(form, data, within[name][0] + _ENTRIES_OFFSET), length),)


def _places(data: bytes, start: int, end: int, *, idat: int) -> Mapping[int, _Extents]:
    """Return the extents of each item, from an `iloc` box."""
    if start == end:
        return {}
    version = data[start]
    offset_bytes, length_bytes = data[start + 4] >> 4, data[start + 4] & 15
    base_bytes, index_bytes = data[start + 5] >> 4, data[start + 5] & 15 if version else 0
    reader = _Reader(data, start + 6, end)
    places: dict[int, _Extents] = {}
    for _ in range(reader.read(4 if version == 2 else 2)):
        item = reader.read(4 if version == 2 else 2)
        method = reader.read(2) & 15 if version else 0
        reader.read(2)
        base = reader.read(base_bytes) + (idat if method == 1 else 0)
        extents = []
        for _ in range(reader.read(2)):
            reader.read(index_bytes)
            offset = base + reader.read(offset_bytes)
            length = reader.read(length_bytes) or len(data)
            extents.append((offset, min(length, max(len(data) - offset, 0))))
        places[item] = tuple(extents)
    return places


class _Reader:
    """Reads numbers one after the other; raises `IndexError` behind the end."""

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self._data, self._position, self._end = data, position, end

    def read(self, size: int) -> int:
        """Return the next number, of `size` bytes."""
        start, self._position = self._position, self._position + size
        if self._position > self._end:
            raise IndexError("expected more bytes in the box")
        return int.from_bytes(self._data[start : self._position], "big")


def _check_metadata(
    data: bytes, within: Mapping[bytes, tuple[int, int]], places: Mapping[int, _Extents]
) -> None:
    """Raise `DecompressionBomb` for too much metadata.

    It counts once for each picture that it describes, as pillow-heif copies it for each.
    """
    described: dict[int, int] = defaultdict(int)
    body, stop = within.get(b"iref", (0, 0))
    size = 4 if body < stop and data[body] else 2
    for kind, position, _ in boxes(data, body + 4, stop):
        if kind == b"cdsc":
            item = int.from_bytes(data[position : position + size], "big")
            described[item] += int.from_bytes(data[position + size : position + size + 2], "big")
    exif = total = 0
    for item, kind in _kinds(data, *within.get(b"iinf", (0, 0))):
        if kind in (b"Exif", b"mime", b"uri "):
            length = _length(places.get(item, ()))
            exif += length if kind == b"Exif" else 0
            total += length * max(described[item], 1)
    check_metadata("AVIF or HEIF", exif=exif, total=total)


def _kinds(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield items and their types, from an `iinf` box."""
    if start == end:
        return
    for _, body, _ in boxes(data, start + (8 if data[start] else 6), end):
        form = ">I2x4s" if data[body] >= 3 else ">H2x4s"
        item, kind = struct.unpack_from(form, data, body + 4)
        yield item, kind


def _length(extents: _Extents) -> int:
    return sum(length for _, length in extents)
