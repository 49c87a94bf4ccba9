"""The colour that a PNG states outside an ICC profile: cICP, sRGB, gAMA and cHRM.

Source: https://www.w3.org/TR/png-3/, 4.3 for their order of precedence, 11.3.2 for the chunks.
"""

import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

from worker.imaging.bombs.png import chunks, has_right_checksum
from worker.imaging.colour.code_points import BT709_PRIMARIES, CodePoints, profile_of
from worker.imaging.colour.curves import SRGB, Parametric
from worker.imaging.colour.icc import ColourSpace, Primaries, write_profile

_LENGTHS: Final = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}
"""The chunks that state a colour, by type, with their length."""
_UNIT: Final = 100_000
"""gAMA and cHRM are stored as integers of this unit."""
_GAMMA_RANGE: Final = (0.1, 10.0)
"""Outside of it a picture would have hardly more than two levels."""


class StatedColour(NamedTuple):
    """What the numbers of a file stand for."""

    icc_profile: bytes | None
    """None for sRGB, and where the file states no colour."""
    has_narrow_range: bool = False
    """Whether black is 16 and white 235 of 255."""


def png_colour(data: bytes, embedded: bytes | None, warnings: list[str]) -> StatedColour:
    """Return the colour of a PNG; its profile is `embedded`, or an equivalent of its chunks.

    `embedded` is the content of iCCP. A chunk that cannot be used adds a sentence to `warnings`.
    """
    stated = _stated(data, warnings)
    is_narrow = False
    if b"cICP" in stated:
        primaries, transfer, _, full_range = stated[b"cICP"]
        points = CodePoints(primaries, transfer)
        profile = profile_of(points, warnings)
        is_known = profile is not None or points.are_srgb
        is_narrow = not full_range and (is_known or points.are_unspecified)
        if is_known:
            return StatedColour(profile, is_narrow)
    if embedded is not None or b"sRGB" in stated:
        return StatedColour(embedded, is_narrow)
    return StatedColour(_calibrated(stated, warnings), is_narrow)


def _calibrated(stated: Mapping[bytes, bytes], warnings: list[str]) -> bytes | None:
    """Return the profile that gAMA and cHRM state; the one that is missing is as in sRGB."""
    curve, primaries, names = SRGB, BT709_PRIMARIES, []
    if b"gAMA" in stated:
        (exponent,) = struct.unpack(">I", stated[b"gAMA"])
        gamma = _UNIT / exponent if exponent else float("inf")
        if _GAMMA_RANGE[0] <= gamma <= _GAMMA_RANGE[1]:
            curve = Parametric(gamma)
            names.append(f"gamma {gamma:.4g}")
        else:
            warnings.append(f"colour: gAMA ignored: expected 10,000 to 1,000,000, found {exponent}")
    if b"cHRM" in stated:
        xy = [number / _UNIT for number in struct.unpack(">8I", stated[b"cHRM"])]
        white, red, green, blue = zip(xy[::2], xy[1::2], strict=True)
        primaries = Primaries(red, green, blue, white)
        names.append("cHRM")
    if curve == SRGB and primaries == BT709_PRIMARIES:
        return None
    try:
        return write_profile(ColourSpace(", ".join(names), primaries, curve))
    except ValueError as error:
        warnings.append(f"colour: cHRM ignored: {error}")
    rest = {kind: chunk for kind, chunk in stated.items() if kind != b"cHRM"}
    return _calibrated(rest, [])


def _stated(data: bytes, warnings: list[str]) -> dict[bytes, bytes]:
    """Return the first chunk of each type that states a colour, as they precede the pixels."""
    found: dict[bytes, bytes] = {}
    unread = dict(_LENGTHS)
    for kind, start, length in chunks(data):
        if kind in (b"IDAT", b"IEND"):
            break
        if kind in unread:
            expected = unread.pop(kind)
            body = data[start : start + expected]
            if length != expected:
                reason = f"expected {expected} bytes, found {length}"
            elif not has_right_checksum(data, start, length):
                reason = "its checksum is wrong"
            else:
                found[kind] = body
                continue
            warnings.append(f"colour: {kind.decode()} ignored: {reason}")
    return found
