"""JPEG: headers of countless or endless segments, and countless scans over the whole picture.

Source: ITU-T T.81, annex B; about scans, "Two issues with the JPEG standard", libjpeg-turbo, 2016.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from worker.errors import DecompressionBomb
from worker.imaging.bombs.metadata import check_metadata

_MAX_SEGMENTS: Final = 100_000
_MAX_STRAY_BYTES: Final = 2**16
"""Bytes between segments; Pillow reads each by itself."""
_MAX_SCANNED_PIXELS: Final = 4_000_000_000
"""Pixels times scans; these take four seconds. Encoders write ten scans, optimisers up to forty."""
_MIN_SCAN_PIXELS: Final = 2**16
"""A scan of a smaller picture costs as much as one of this size."""

_END, _SCAN, _EXIF, _COMMENT, _JPEG_LS = 0xD9, 0xDA, 0xE1, 0xFE, 0xF7
_APPLICATION: Final = frozenset(range(0xE0, 0xF0))
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SINGLE_PASS: Final = frozenset({0xC0, 0xC1, 0xC9})
"""Frames that are complete after one scan, if that has every component."""
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
_MARKER: Final = re.compile(rb"\xff[^\x00\xff]")
_MARKER_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


class _Segment(NamedTuple):
    marker: int
    body: int
    """Offset of the first byte after the length."""
    length: int
    """Bytes of the body."""
    stray_bytes: int
    """Bytes before it that do not belong to a segment."""


def check_header(data: bytes) -> None:
    """Raise `DecompressionBomb` if Pillow would read too much before the first scan."""
    stray_bytes, exif_bytes, metadata_bytes = 0, 0, 0
    for count, segment in enumerate(_segments(data)):
        stray_bytes += segment.stray_bytes
        if count > _MAX_SEGMENTS or stray_bytes > _MAX_STRAY_BYTES:
            raise DecompressionBomb(
                f"JPEG: expected at most {_MAX_SEGMENTS:,} segments and {_MAX_STRAY_BYTES:,} bytes "
                "between them before the pixels, found more"
            )
        if segment.marker in _APPLICATION or segment.marker == _COMMENT:
            metadata_bytes += segment.length
            if segment.marker == _EXIF and data.startswith(b"Exif\0\0", segment.body):
                exif_bytes += segment.length
        check_metadata("JPEG", exif=exif_bytes, total=metadata_bytes)
        if segment.marker == _SCAN:
            return


class Frame(NamedTuple):
    """What a frame header says about the samples; nothing but the marker for JPEG-LS."""

    marker: int
    bits: int
    components: int


def find_frame(data: bytes) -> Frame | None:
    """Return the frame of a JPEG whose header `check_header` let pass; None without one."""
    for segment in _segments(data):
        body = data[segment.body : segment.body + 6]
        if segment.marker == _JPEG_LS:
            return Frame(segment.marker, 0, 0)
        if segment.marker in _FRAMES and len(body) == 6:
            return Frame(segment.marker, body[0], body[5])
        if segment.marker in (_SCAN, _END):
            return None
    return None


def check_scans(data: bytes, pixels: int) -> None:
    """Raise `DecompressionBomb` if the scans of a picture add up to too many pixels."""
    max_scans = _MAX_SCANNED_PIXELS // max(pixels, _MIN_SCAN_PIXELS)
    scans, components, single_pass = 0, 0, False
    for count, segment in enumerate(_segments(data)):
        body = data[segment.body : segment.body + 6]
        if segment.marker in _FRAMES and len(body) == 6:
            components, single_pass = body[5], segment.marker in _SINGLE_PASS
        elif segment.marker == _SCAN:
            scans += 1
            if single_pass and body[:1] == bytes((components,)):
                return
        elif segment.marker == _END:
            return
        if scans > max_scans or count > _MAX_SEGMENTS:
            raise DecompressionBomb(
                f"JPEG: expected at most {max_scans:,} scans of {pixels:,} pixels, found more; "
                "store it with fewer"
            )


def _segments(data: bytes) -> Iterator[_Segment]:
    """Yield the segments as a decoder finds them.

    A last one with the marker 0 counts the stray bytes at the end of a file without scans.
    """
    position, pattern = 2, _MARKER
    while match := pattern.search(data, position):
        marker = data[match.start() + 1]
        stray_bytes = match.start() - position if pattern is _MARKER else 0
        position = match.end()
        if marker in _WITHOUT_LENGTH:
            yield _Segment(marker, position, 0, stray_bytes)
        else:
            length = max(int.from_bytes(data[position : position + 2], "big"), 2)
            yield _Segment(marker, position + 2, length - 2, stray_bytes)
            position += length
        pattern = _MARKER_AFTER_SCAN if marker == _SCAN else _MARKER
    if pattern is _MARKER:
        yield _Segment(0, len(data), 0, max(len(data) - position, 0))
