"""The ICC profile in a file as Pillow opens it, also where Pillow does not look for one."""

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image
from PIL.ExifTags import IFD, Base

from worker.errors import CutworkError
from worker.imaging.bombs.icc import MAX_ICC_PROFILE_BYTES
from worker.imaging.colour.code_points import BT709_PRIMARIES
from worker.imaging.colour.curves import Floats

_ENOUGH_BYTES: Final = MAX_ICC_PROFILE_BYTES + 1
"""Of a profile, of which `usable_profile` refuses what is longer."""
_GIF_PROFILE: Final = b"!\xff\x0bICCRGBG1012"
"""A GIF's application extension for an ICC profile."""
_BMP_HEADER, _BMP_V4_BYTES, _BMP_V5_BYTES = 14, 108, 124
_BMP_SPACE, _BMP_PROFILE = _BMP_HEADER + 56, _BMP_HEADER + 112
"""Offsets of `bV5CSType`, and of `bV5ProfileData` with `bV5ProfileSize` after it."""
_CALIBRATED: Final = b"\0\0\0\0"
"""The value of `bV5CSType` for a space by XYZ of red, green and blue; many files leave them 0."""
_INTEROPERABILITY_INDEX: Final = 1
_ADOBE_RGB: Final = "R03"
"""The interoperability index of a DCF optional file."""
ADOBE_RGB_SPACE: Final = 2
"""A value of ColorSpace that cameras write for Adobe RGB; the standard leaves it open."""
ADOBE_RGB_BY_EXIF: Final = "colour: Adobe RGB by EXIF is ignored: expected an ICC profile"


def embedded_profile(data: bytes, image: Image.Image, warnings: list[str]) -> object:
    """Return what a file says is its ICC profile, unchecked; None without one.

    `image` is the same file as opened by Pillow. A profile that is lost, and another colour space
    that is stated instead, add a sentence to `warnings`.
    """
    profile = image.info.get("icc_profile")
    if image.format == "BMP":
        profile = _bmp_profile(data, warnings)
    elif image.format == "GIF":
        profile = _gif_profile(data)
    elif not profile and "icc_profile" in image.info:
        warnings.append("colour profile dropped: its parts are incomplete or not compressed right")
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        warnings.append("colour: CMYK without an Adobe marker is read as Adobe writes it, inverted")
    if profile is None:
        _warn_of_exif(image, warnings)
    return profile


def _warn_of_exif(image: Image.Image, warnings: list[str]) -> None:
    """Add a sentence for Adobe RGB that only EXIF states.

    It is not believed, because programs that convert photographs to sRGB leave EXIF as it is.
    """
    try:
        exif = image.getexif()
        space = exif.get_ifd(IFD.Exif).get(Base.ColorSpace)
        index = exif.get_ifd(IFD.Interop).get(_INTEROPERABILITY_INDEX)
    except (CutworkError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - Pillow raises errors of any class for broken EXIF
        return  # `read_orientation` warns of it.
    if space == ADOBE_RGB_SPACE or str(index).rstrip("\0") == _ADOBE_RGB:
        warnings.append(ADOBE_RGB_BY_EXIF)


def are_srgb(chromaticities: Sequence[float] | Floats) -> bool:
    """Return whether x and y of red, green and blue are those of sRGB."""
    srgb = [value for point in BT709_PRIMARIES[:3] for value in point]
    return len(chromaticities) == 6 and np.allclose(chromaticities, srgb, atol=0.002)


def _bmp_profile(data: bytes, warnings: list[str]) -> bytes | None:
    """Return the profile at the end of a BMP; other colour spaces than sRGB add a sentence."""
    if len(data) < _BMP_PROFILE + 8:
        return None
    (header_bytes,) = struct.unpack_from("<I", data, _BMP_HEADER)
    # Four letters, read as a little-endian number.
    space = data[_BMP_SPACE : _BMP_SPACE + 4][::-1]
    if header_bytes < _BMP_V4_BYTES or space in (b"sRGB", b"Win "):
        return None
    if header_bytes == _BMP_V5_BYTES and space == b"MBED":
        offset, length = struct.unpack_from("<II", data, _BMP_PROFILE)
        start = _BMP_HEADER + offset
        return data[start : start + min(length, _ENOUGH_BYTES)]
    endpoints = np.frombuffer(data, "<u4", 9, _BMP_SPACE + 4).reshape(3, 3).astype(float)
    sums = endpoints.sum(axis=1, keepdims=True)
    if space == _CALIBRATED and (not sums.all() or are_srgb((endpoints / sums)[:, :2].ravel())):
        return None
    warnings.append(f"colour: the BMP's own colour space ({space!r}) is ignored: expected sRGB")
    return None


def _gif_profile(data: bytes) -> bytes | None:
    start = data.find(_GIF_PROFILE)
    if start < 0:
        return None
    profile, position = bytearray(), start + len(_GIF_PROFILE)
    while position < len(data) and data[position] and len(profile) < _ENOUGH_BYTES:
        profile += data[position + 1 : position + 1 + data[position]]
        position += 1 + data[position]
    return bytes(profile)
