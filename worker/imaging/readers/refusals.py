"""Names of pixels that no reader supports, for files of a known format that could not be read.

An error of the library does not tell such files from broken ones, so the header is looked at.
"""

import re
import struct
from collections.abc import Mapping, Set
from typing import Final

from worker.errors import CorruptImage, CutworkError, UnsupportedImage
from worker.imaging.bombs.jpeg import find_frame

_JPEG_FRAMES: Final = {
    0xC0: "baseline",
    0xC1: "extended sequential",
    0xC2: "progressive",
    0xC3: "lossless",
    0xC9: "arithmetic-coded",
    0xCA: "progressive arithmetic-coded",
}
"""Frames that are read."""
_JPEG_BITS: Final = (8,)
_JPEG_COMPONENTS: Final = (1, 3, 4)
_JPEG_LS: Final = 0xF7

_BMP_HEADERS: Final = (12, 40, 52, 56, 64, 108, 124)
_BMP_BITS: Final = (1, 4, 8, 16, 24, 32)
_BMP_COMPRESSIONS: Final = {0: "none", 1: "RLE8", 2: "RLE4", 3: "bit fields", 4: "JPEG", 5: "PNG"}
_BMP_READ: Final = {(0, bits) for bits in _BMP_BITS} | {(1, 8), (2, 4), (3, 16), (3, 24), (3, 32)}
"""Compressions with the bits per pixel that are read with them."""
_BMP_BIT_FIELDS, _BMP_MASKS_OFFSET = 3, 54
_BMP_MASKS: Final[Mapping[int, Set[tuple[int, ...]]]] = {
    16: {(0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)},
    24: {(0xFF0000, 0xFF00, 0xFF)},
    32: {
        *((0xFF0000, 0xFF00, 0xFF, alpha) for alpha in (0, 0xFF000000)),
        *((0xFF000000, 0xFF0000, 0xFF00, alpha) for alpha in (0, 0xFF)),
        *((0xFF000000, 0xFF00, 0xFF, alpha) for alpha in (0, 0xFF0000)),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0, 0, 0, 0),
    },
}
"""The masks of red, green, blue and, in 32 bits, alpha that are read."""
_BMP_HEADER_WITH_ALPHA: Final = 56

_HEIF_ITEM: Final = re.compile(rb"infe(?:\x02.{3}.{2}|\x03.{3}.{4}).{2}(.{4})", re.DOTALL)
_HEIF_CODECS: Final = {
    b"hvc1": "HEVC",
    b"hev1": "HEVC",
    b"av01": "AV1",
    b"jpeg": "JPEG",
    b"vvc1": "VVC",
    b"evc1": "EVC",
    b"avc1": "AVC",
    b"j2k1": "JPEG 2000",
    b"unci": "uncompressed",
    b"lhv1": "layered HEVC",
}
_HEIF_HEADER_BYTES: Final = 2**16


def refusal(data: bytes, container: str, sentence: str) -> CutworkError:
    """Return the error for a file of a format that could not be read.

    It is `UnsupportedImage` if its header names pixels that no reader supports, otherwise
    `CorruptImage` with the sentence.
    """
    look = {"JPEG": _jpeg, "BMP": _bmp, "HEIF": _heif, "AVIF": _heif}.get(container)
    found = None if look is None else look(data)
    if found is None:
        return CorruptImage(sentence)
    return UnsupportedImage(
        f"expected {container} pixels that can be decoded, found {found}; store it as PNG"
    )


def _jpeg(data: bytes) -> str | None:
    frame = find_frame(data)
    if frame is None:
        return None
    if frame.marker == _JPEG_LS:
        return "JPEG-LS"
    if frame.components == 0:
        return None
    kind = _JPEG_FRAMES.get(frame.marker, f"frame type {frame.marker - 0xC0}")
    is_read = frame.bits in _JPEG_BITS and frame.components in _JPEG_COMPONENTS
    if frame.marker in _JPEG_FRAMES and is_read:
        return None
    return f"a {kind} JPEG of {frame.components} samples of {frame.bits} bits"


def _bmp(data: bytes) -> str | None:
    (header,) = struct.unpack_from("<I", data, 14)
    if header not in _BMP_HEADERS:
        return f"a BMP header of {header} bytes"
    if len(data) < 14 + header:
        return None
    (bits,) = struct.unpack_from("<H", data, 24 if header == 12 else 28)
    (compression,) = (0,) if header == 12 else struct.unpack_from("<I", data, 30)
    name = _BMP_COMPRESSIONS.get(compression, str(compression))
    if (compression, bits) not in _BMP_READ:
        return f"{bits} bits, compression {name}"
    return _bmp_masks(data, header, bits) if compression == _BMP_BIT_FIELDS else None


def _bmp_masks(data: bytes, header: int, bits: int) -> str | None:
    """Return the masks of a BMP's bit fields if they are not read."""
    if len(data) < _BMP_MASKS_OFFSET + 16:
        return None
    masks: tuple[int, ...] = struct.unpack_from("<4I", data, _BMP_MASKS_OFFSET)
    if bits < 32:
        masks = masks[:3]
    elif header < _BMP_HEADER_WITH_ALPHA:
        masks = (*masks[:3], 0)
    if masks in _BMP_MASKS[bits]:
        return None
    return f"{bits} bits in fields of " + ", ".join(f"{mask:#x}" for mask in masks)


def _heif(data: bytes) -> str | None:
    kinds = {match[1] for match in _HEIF_ITEM.finditer(data[:_HEIF_HEADER_BYTES])}
    names = sorted({_HEIF_CODECS[kind] for kind in kinds if kind in _HEIF_CODECS})
    if not names or "HEVC" in names:
        return None
    if "AV1" in names:
        # Without one of these brands no decoder takes AV1.
        brands = data[8 : int.from_bytes(data[:4], "big")]
        return None if re.search(rb"avi[fs]", brands) else "AV1 without the brand avif"
    return f"pictures coded as {', '.join(names)}"
