"""ICC profiles: a few hundred bytes that keep a colour library busy for minutes.

Colour libraries evaluate a profile at tens of thousands of grid points before the first pixel, and
a multi-process element (`mpet`) may repeat one step thousands of times. This check accepts what
cameras, scanners, displays and printers write and rejects the rest, before any library reads it.
Source: ICC.1:2022 (https://www.color.org/icc_specs2.xalter), chapters 7, 9 and 10.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from worker.imaging.bombs.icc_tags import CHECKS, Unusable, text_of

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

_HEADER_BYTES, _TAG_BYTES = 128, 12


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
    except (Unusable, struct.error) as error:
        reason = "it is incomplete" if isinstance(error, struct.error) else str(error)
        warnings.append(f"colour profile dropped: {reason}")
        return None


def _checked(profile: object) -> bytes:
    if not isinstance(profile, bytes):
        raise Unusable(f"expected bytes, found {type(profile).__name__}")
    if len(profile) > MAX_ICC_PROFILE_BYTES:
        raise Unusable(f"expected at most {MAX_ICC_PROFILE_BYTES:,} bytes, found {len(profile):,}")
    if profile[36:40] != b"acsp":
        raise Unusable(f"expected the signature 'acsp' at byte 36, found {profile[36:40]!r}")
    (size,) = struct.unpack_from(">I", profile)
    if size > len(profile):
        raise Unusable(f"expected {size:,} bytes as its header states, found {len(profile):,}")
    if profile[8] > _MAX_VERSION:
        raise Unusable(f"expected a version up to {_MAX_VERSION}, found {profile[8]}")
    _expect("colour space of", profile[16:20], _SPACES)
    classes = _LAB_CLASSES if profile[16:20] == b"Lab " else _CLASSES
    _expect("class of", profile[12:16], classes)
    _expect("connection space of", profile[20:24], _CONNECTION_SPACES)
    profile = profile[:size]
    for tag in _tags(profile):
        kind = profile[tag.offset : tag.offset + 4]
        if kind in _FORBIDDEN_TYPES or tag.name[:3] in (b"D2B", b"B2D"):
            raise Unusable(
                f"expected no multi-process elements and no named colours, "
                f"found {text_of(tag.name)} of the type {text_of(kind)}"
            )
        if tag.name in _TYPES:
            _expect(f"tag {text_of(tag.name)} of the type", kind, _TYPES[tag.name])
        if check := CHECKS.get(kind):
            try:
                check(profile[tag.offset : tag.offset + tag.size])
            except (Unusable, struct.error) as error:
                reason = "it is cut short" if isinstance(error, struct.error) else str(error)
                raise Unusable(f"{text_of(tag.name)}: {reason}") from error
    return profile


def _tags(profile: bytes) -> Iterator[_Tag]:
    """Yield the tags. All lie within the profile, and together they are not much larger than it."""
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    if count > _MAX_TAGS:
        raise Unusable(f"expected at most {_MAX_TAGS} tags, found {count:,}")
    start = _HEADER_BYTES + 4 + count * _TAG_BYTES
    table = [
        _Tag(*struct.unpack_from(">4sII", profile, position))
        for position in range(_HEADER_BYTES + 4, start, _TAG_BYTES)
    ]
    if len({tag.name for tag in table}) < count:
        raise Unusable("expected each tag once, found one twice")
    ranges = sorted({(tag.offset, tag.offset + tag.size) for tag in table if tag.size})
    for offset, end in ranges:
        if offset < start or end > len(profile):
            raise Unusable(
                f"expected tags between the bytes {start:,} and {len(profile):,}, "
                f"found one from {offset:,} to {end:,}"
            )
    total = sum(end - offset for offset, end in ranges)
    if total > _MAX_OVERLAP * len(profile):
        raise Unusable(
            f"expected tags of at most {_MAX_OVERLAP * len(profile):,} bytes together, "
            f"found {total:,} that overlap"
        )
    # Colour libraries do not see empty tags.
    yield from (tag for tag in table if tag.size)


def _expect(name: str, found: bytes, choices: tuple[bytes, ...]) -> None:
    if found not in choices:
        known = ", ".join(map(text_of, choices))
        raise Unusable(f"expected a {name} {known}, found {text_of(found)}")


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
