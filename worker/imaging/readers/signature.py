"""Which format a file has, by its first bytes alone."""

import re
from typing import Final

FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF")
"""The formats that are accepted; untrusted input never reaches Pillow's other plugins."""

_SIGNATURES: Final = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("GIF", rb"GIF8[79]a"),
    ("WEBP", rb"RIFF.{4}WEBP"),
    ("TIFF", rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]|MM\x2a\0|II\0\x2a"),
    # Behind the sizes of the file: the size of a header, below 256. BM alone also begins words.
    ("BMP", rb"BM.{12}.\0\0\0"),
    ("AVIF", rb".{4}ftypavi[fs]"),
    ("HEIF", rb".{4}ftyp(?:.{8})?(?:.{4}){0,16}(?:hei[cxms]|hev[cxms]|mif[12]|msf1|avif|miaf)"),
)
_OTHERS: Final = (
    ("a JPEG XL image", rb"\xff\x0a|\0\0\0\x0cJXL "),
    ("a JPEG 2000 image", rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  "),
    ("a Photoshop document", rb"8BPS"),
    ("an OpenEXR image", rb"\x76\x2f\x31\x01"),
    ("a Radiance image", rb"#\?R(?:ADIANCE|GBE)"),
    ("a Windows icon", rb"\0\0[\x01\x02]\0"),
    ("a PNM image", rb"P[1-7][\s#]"),
    ("a PDF document", rb"%PDF-"),
    ("an SVG drawing", rb"\s*(?:<\?xml.{0,200}?)?<svg"),
    ("a Canon raw image", rb".{4}ftypcrx "),
    ("a camera raw image", rb"IIR[OS]|IIU\0|FUJIFILMCCD-RAW|FOVb"),
    ("a JPEG XR image", rb"II\xbc[\0\1]"),
    ("a video", rb".{4}ftyp|\x1a\x45\xdf\xa3"),
)
"""Formats that are not read, with names for error messages."""


def format_of(data: bytes) -> str | None:
    """Return the one of `FORMATS` that a file begins like; None for all others."""
    return _first(_SIGNATURES, data)


def name_other(data: bytes) -> str:
    """Return what a file is that begins like none of `FORMATS`, for an error message."""
    found = f"{len(data):,} bytes that begin with {data[:12]!r}"
    name = _first(_OTHERS, data)
    return f"{name}: {found}" if name else found


def _first(patterns: tuple[tuple[str, bytes], ...], data: bytes) -> str | None:
    head = data[:512]
    return next((name for name, pattern in patterns if re.match(pattern, head, re.DOTALL)), None)
