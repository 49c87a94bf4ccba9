"""The content of ICC tags: curves, tables, grids and texts that are no larger than they must be.

Source: ICC.1:2022 (https://www.color.org/icc_specs2.xalter), chapter 10.
"""

import struct
from collections.abc import Callable, Mapping
from math import prod
from typing import Final

_MAX_CHANNELS: Final = 4
_MAX_CURVE_ENTRIES: Final = 65_536
_MAX_TABLE_ENTRIES: Final = 4_096
_MAX_RECORDS: Final = 256
"""Languages of a text, entries of a dictionary; Apple's texts have forty languages."""
_MAX_TEXT_BYTES: Final = 2**20
"""All languages of a text together: they may share their bytes."""
_MAX_NUMBERS: Final = 1_024
CURVE_PARAMETERS: Final = (1, 3, 4, 5, 7)
"""Parameters by function type of a parametric curve."""


class Unusable(ValueError):
    """What was expected of a profile, and what was found."""


def text_of(signature: bytes) -> str:
    """Return a signature of four letters for a message."""
    text = signature.decode("ascii", "replace").strip()
    return text if text.isprintable() and text.isascii() and text else repr(signature)


def _within(name: str, found: int, low: int, high: int) -> None:
    if not low <= found <= high:
        raise Unusable(f"expected {low:,} to {high:,} {name}, found {found:,}")


def _room(tag: bytes, end: int) -> None:
    """Check that a tag holds the bytes that it announces."""
    if end > len(tag):
        raise Unusable(f"expected at most the {len(tag):,} bytes of the tag, found {end:,}")


def _curve(tag: bytes, start: int = 0) -> int:
    """Check a sampled or parametric curve and return its end."""
    if tag[start : start + 4] == b"para":
        (function,) = struct.unpack_from(">H", tag, start + 8)
        _within("as the type of a curve", function, 0, len(CURVE_PARAMETERS) - 1)
        end = start + 12 + 4 * CURVE_PARAMETERS[function]
    elif tag[start : start + 4] == b"curv":
        (entries,) = struct.unpack_from(">I", tag, start + 8)
        _within("entries of a curve", entries, 0, _MAX_CURVE_ENTRIES)
        end = start + 12 + 2 * entries
    else:
        found = text_of(tag[start : start + 4])
        raise Unusable(f"expected a curve of the type curv or para, found {found}")
    _room(tag, end)
    return end


def _channels(tag: bytes) -> tuple[int, int]:
    inputs, outputs = struct.unpack_from(">BB", tag, 8)
    _within("input channels", inputs, 1, _MAX_CHANNELS)
    _within("output channels", outputs, 1, _MAX_CHANNELS)
    return inputs, outputs


def _table(tag: bytes) -> None:
    """Check a lookup table of 8 or 16 bits, the types `mft1` and `mft2`."""
    inputs, outputs = _channels(tag)
    before = after = 256
    start, width = 48, 1
    if tag.startswith(b"mft2"):
        before, after = struct.unpack_from(">HH", tag, 48)
        start, width = 52, 2
        _within("entries of a table", max(before, after), 0, _MAX_TABLE_ENTRIES)
    points = outputs * tag[10] ** inputs
    _room(tag, start + width * (inputs * before + points + outputs * after))


def _stages(tag: bytes) -> None:
    """Check curves, matrix and grid of the types `mAB ` and `mBA `."""
    inputs, outputs = _channels(tag)
    first, matrix, second, grid, third = struct.unpack_from(">5I", tag, 12)
    if tag.startswith(b"mBA "):
        inside, outside = inputs, outputs
    else:
        inside, outside = outputs, inputs
    for start, count in ((first, inside), (second, inside), (third, outside)):
        for _ in range(count if start else 0):
            start = -(-_curve(tag, start) // 4) * 4
    if matrix:
        _room(tag, matrix + 48)
    if grid:
        sides, width = tag[grid : grid + inputs], tag[grid + 16 : grid + 17]
        if width not in (b"\1", b"\2"):
            raise Unusable(f"expected 1 or 2 bytes for a value of the grid, found {width!r}")
        _room(tag, grid + 20 + prod(sides) * outputs * width[0])


def _languages(tag: bytes) -> None:
    """Check a text in several languages, the type `mluc`."""
    count, size = struct.unpack_from(">II", tag, 8)
    _within("languages", count, 0, _MAX_RECORDS)
    _within("bytes for a language", size, 12, 12)
    total = 0
    for position in range(16, 16 + 12 * count, 12):
        length, offset = struct.unpack_from(">II", tag, position + 4)
        _room(tag, offset + length)
        total += length
    _within("bytes of text", total, 0, _MAX_TEXT_BYTES)


def _records(tag: bytes) -> None:
    """Check the number of records in a dictionary or in a sequence of profiles."""
    (count,) = struct.unpack_from(">I", tag, 8)
    _within("records", count, 0, _MAX_RECORDS)


def _numbers(tag: bytes) -> None:
    _within("numbers", (len(tag) - 8) // 4, 0, _MAX_NUMBERS)


CHECKS: Final[Mapping[bytes, Callable[[bytes], object]]] = {
    b"curv": _curve,
    b"para": _curve,
    b"mft1": _table,
    b"mft2": _table,
    b"mAB ": _stages,
    b"mBA ": _stages,
    b"mluc": _languages,
    b"dict": _records,
    b"pseq": _records,
    b"psid": _records,
    b"clrt": _records,
    b"XYZ ": _numbers,
    b"sf32": _numbers,
    b"uf32": _numbers,
}
"""By the type of a tag."""
