"""ICC profiles: a few hundred bytes that keep a colour library busy for minutes.

Colour libraries evaluate a profile at tens of thousands of grid points before the first pixel, and
a multi-process element (`mpet`) may repeat one step thousands of times. This check accepts what
cameras, scanners, displays and printers write and rejects the rest, before any library reads it.
Source: ICC.1:2022 (https://www.color.org/icc_specs2.xalter), chapters 7, 9 and 10.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Final, NamedTuple

MAX_ICC_PROFILE_BYTES: Final = 4 * 2**20
"""Real profiles are below 2 MiB. A profile is copied into every output."""

_MAX_TAGS: Final = 64
"""Printer profiles have about thirty."""
_MAX_OVERLAP: Final = 2
"""Limit for all tags together, relative to the profile. Small profiles share bytes between tags."""
_MAX_VERSION: Final = 5
_CLASSES: Final = (b"mntr", b"scnr", b"prtr", b"spac")
"""Display, input, output and colour space; not device links, abstract or named colours."""
_LAB_CLASSES: Final = (*_CLASSES, b"abst")
"""The Lab profile of lcms is an abstract one."""
_SPACES: Final = (b"GRAY", b"RGB ", b"CMYK", b"Lab ")
_CONNECTION_SPACES: Final = (b"XYZ ", b"Lab ")

_MAX_CHANNELS: Final = 4
_MAX_CURVE_ENTRIES: Final = 65_536
_MAX_TABLE_ENTRIES: Final = 4_096
_MAX_RECORDS: Final = 256
"""Languages of a text, entries of a dictionary; Apple's texts have forty languages."""
_MAX_TEXT_BYTES: Final = 2**20
"""All languages of a text together: they may share their bytes."""
_MAX_NUMBERS: Final = 1_024
_HEADER_BYTES, _TAG_BYTES = 128, 12
CURVE_PARAMETERS: Final = (1, 3, 4, 5, 7)
"""Parameters by function type of a parametric curve."""


class _Unusable(ValueError):
    """What was expected of a profile, and what was found."""


class _Tag(NamedTuple):
    name: bytes
    offset: int
    size: int


def usable_profile(profile: object, warnings: list[str]) -> bytes | None:
    """Return the bytes of an ICC profile that is safe to use and to embed, else None.

    Every profile of a file passes through here before anything else reads it. Bytes after its end
    are cut off. A profile that may take much time, or is broken, adds a sentence to `warnings`; the
    content of tags that are never evaluated is not checked.
    """
    if profile is None or profile == b"":
        return None
    try:
        return _checked(profile)
    except (_Unusable, struct.error) as error:
        reason = "it is incomplete" if isinstance(error, struct.error) else str(error)
        warnings.append(f"colour profile dropped: {reason}")
        return None


def _checked(profile: object) -> bytes:
    if not isinstance(profile, bytes):
        raise _Unusable(f"expected bytes, found {type(profile).__name__}")
    if len(profile) > MAX_ICC_PROFILE_BYTES:
        raise _Unusable(f"expected at most {MAX_ICC_PROFILE_BYTES:,} bytes, found {len(profile):,}")
    if profile[36:40] != b"acsp":
        raise _Unusable(f"expected the signature 'acsp' at byte 36, found {profile[36:40]!r}")
    (size,) = struct.unpack_from(">I", profile)
    if size > len(profile):
        raise _Unusable(f"expected {size:,} bytes as its header states, found {len(profile):,}")
    if profile[8] > _MAX_VERSION:
        raise _Unusable(f"expected a version up to {_MAX_VERSION}, found {profile[8]}")
    _expect("colour space of", profile[16:20], _SPACES)
    classes = _LAB_CLASSES if profile[16:20] == b"Lab " else _CLASSES
    _expect("class of", profile[12:16], classes)
    _expect("connection space of", profile[20:24], _CONNECTION_SPACES)
    profile = profile[:size]
    for tag in _tags(profile):
        kind = profile[tag.offset : tag.offset + 4]
        if kind in _FORBIDDEN_TYPES or tag.name[:3] in (b"D2B", b"B2D"):
            raise _Unusable(
                f"expected no multi-process elements and no named colours, "
                f"found {_text(tag.name)} of the type {_text(kind)}"
            )
        if tag.name in _TYPES:
            _expect(f"tag {_text(tag.name)} of the type", kind, _TYPES[tag.name])
        if check := _CHECKS.get(kind):
            try:
                check(profile[tag.offset : tag.offset + tag.size])
            except (_Unusable, struct.error) as error:
                reason = "it is cut short" if isinstance(error, struct.error) else str(error)
                raise _Unusable(f"{_text(tag.name)}: {reason}") from error
    return profile


def _tags(profile: bytes) -> Iterator[_Tag]:
    """Yield the tags. All lie within the profile, and together they are not much larger than it."""
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    if count > _MAX_TAGS:
        raise _Unusable(f"expected at most {_MAX_TAGS} tags, found {count:,}")
    start = _HEADER_BYTES + 4 + count * _TAG_BYTES
    table = [
        _Tag(*struct.unpack_from(">4sII", profile, position))
        for position in range(_HEADER_BYTES + 4, start, _TAG_BYTES)
    ]
    if len({tag.name for tag in table}) < count:
        raise _Unusable("expected each tag once, found one twice")
    ranges = sorted({(tag.offset, tag.offset + tag.size) for tag in table if tag.size})
    for offset, end in ranges:
        if offset < start or end > len(profile):
            raise _Unusable(
                f"expected tags between the bytes {start:,} and {len(profile):,}, "
                f"found one from {offset:,} to {end:,}"
            )
    total = sum(end - offset for offset, end in ranges)
    if total > _MAX_OVERLAP * len(profile):
        raise _Unusable(
            f"expected tags of at most {_MAX_OVERLAP * len(profile):,} bytes together, "
            f"found {total:,} that overlap"
        )
    # Colour libraries do not see empty tags.
    yield from (tag for tag in table if tag.size)


def _expect(name: str, found: bytes, choices: tuple[bytes, ...]) -> None:
    if found not in choices:
        known = ", ".join(map(_text, choices))
        raise _Unusable(f"expected a {name} {known}, found {_text(found)}")


def _text(signature: bytes) -> str:
    text = signature.decode("ascii", "replace").strip()
    return text if text.isprintable() and text.isascii() and text else repr(signature)


def _within(name: str, found: int, low: int, high: int) -> None:
    if not low <= found <= high:
        raise _Unusable(f"expected {low:,} to {high:,} {name}, found {found:,}")


def _room(tag: bytes, end: int) -> None:
    """Check that a tag holds the bytes that it announces."""
    if end > len(tag):
        raise _Unusable(f"expected at most the {len(tag):,} bytes of the tag, found {end:,}")


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
        found = _text(tag[start : start + 4])
        raise _Unusable(f"expected a curve of the type curv or para, found {found}")
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
            raise _Unusable(f"expected 1 or 2 bytes for a value of the grid, found {width!r}")
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


_CURVES: Final = (b"curv", b"para")
_TABLES: Final = (b"mft1", b"mft2")
_TYPES: Final[Mapping[bytes, tuple[bytes, ...]]] = {
    **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC", b"kTRC"), _CURVES),
    **dict.fromkeys((b"rXYZ", b"gXYZ", b"bXYZ"), (b"XYZ ",)),
    **dict.fromkeys((b"A2B0", b"A2B1", b"A2B2"), (*_TABLES, b"mAB ")),
    **dict.fromkeys((b"B2A0", b"B2A1", b"B2A2"), (*_TABLES, b"mBA ")),
}
"""By the name of a tag that colours are computed from."""
_FORBIDDEN_TYPES: Final = (b"mpet", b"ncl2", b"ncol")
_CHECKS: Final[Mapping[bytes, Callable[[bytes], object]]] = {
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
