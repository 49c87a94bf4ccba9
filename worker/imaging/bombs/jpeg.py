"""JPEG: headers of countless segments, and scans of which each passes over the whole picture.

Source: ITU-T T.81, annex B; for scans, "Two issues with the JPEG standard", libjpeg-turbo, 2016.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from worker.errors import DecompressionBomb

_MOST_SEGMENTS: Final = 100_000
_MOST_JUNK: Final = 2**16
"""Bytes between segments; Pillow reads them one by one."""
_MOST_SCANNED: Final = 4_000_000_000
"""Pixels times scans: four seconds. Encoders write about ten scans, optimizers up to forty."""
_SMALLEST_SCAN: Final = 2**16
"""Pixels; the scan of a smaller picture costs no less."""

_END, _SCAN = 0xD9, 0xDA
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ONE_PASS: Final = frozenset({0xC0, 0xC1, 0xC9})
"""Frames whose pixels come with one scan where that holds every component."""
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
_MARKER: Final = re.compile(rb"\xff[^\x00\xff]")
_BEHIND_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


class _Segment(NamedTuple):
    marker: int
    place: int
    """Of its body, behind the length."""
    junk: int
    """Bytes in front of it that belong to none."""


def check_header(data: bytes) -> None:
    """Raise `DecompressionBomb` where Pillow would read on and on before the first scan."""
    junk = 0
    for count, segment in enumerate(_segments(data)):
        junk += segment.junk
        if count > _MOST_SEGMENTS or junk > _MOST_JUNK:
            raise DecompressionBomb(
                f"JPEG: expected at most {_MOST_SEGMENTS:,} segments and {_MOST_JUNK:,} bytes "
                "between them in front of the pixels, found more"
            )
        if segment.marker == _SCAN:
            return


def check_scans(data: bytes, pixels: int) -> None:
    """Raise `DecompressionBomb` where the scans of a picture add up to too many pixels."""
    most = _MOST_SCANNED // max(pixels, _SMALLEST_SCAN)
    scans, components, one_pass = 0, 0, False
    for count, segment in enumerate(_segments(data)):
        body = data[segment.place : segment.place + 6]
        if segment.marker in _FRAMES and len(body) == 6:
            components, one_pass = body[5], segment.marker in _ONE_PASS
        elif segment.marker == _SCAN:
            scans += 1
            if one_pass and body[:1] == bytes((components,)):
                return
        elif segment.marker == _END:
            return
        if scans > most or count > _MOST_SEGMENTS:
            raise DecompressionBomb(
                f"JPEG: expected at most {most:,} scans of {pixels:,} pixels, found more; "
                "store it with fewer"
            )


def _segments(data: bytes) -> Iterator[_Segment]:
    """The segments as a decoder finds them; at the end one that is none, with what is left over."""
    place, pattern = 2, _MARKER
    while found := pattern.search(data, place):
        marker = data[found.start() + 1]
        junk = found.start() - place if pattern is _MARKER else 0
        place = found.end()
        if marker in _WITHOUT_LENGTH:
            yield _Segment(marker, place, junk)
        else:
            yield _Segment(marker, place + 2, junk)
            place += max(int.from_bytes(data[place : place + 2], "big"), 2)
        pattern = _BEHIND_SCAN if marker == _SCAN else _MARKER
    if pattern is _MARKER:
        yield _Segment(0, len(data), max(len(data) - place, 0))
