"""Colours of a TIFF: what its tags state without an ICC profile, and L*a*b* and YCbCr as RGB.

Source: TIFF 6.0, sections 20, 21 and 23; Exif 2.32, 4.6.5.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worker.errors import CorruptImage
from worker.imaging.colour.curves import SRGB, evaluate
from worker.imaging.colour.embedded import ADOBE_RGB_BY_EXIF, ADOBE_RGB_SPACE, are_srgb
from worker.imaging.colour.lab import lab_to_srgb
from worker.imaging.readers.tiff_layout import Layout
from worker.imaging.readers.tiff_tags import Directory, Tag, read_directory
from worker.imaging.readers.tiff_values import JPEG, OLD_JPEG, RGB, YCBCR

_REC_601: Final = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in Y, where a file does not state others."""
_D65: Final = (0.3127, 0.3290)
_NEAR: Final = 0.02
"""A gamma of 2.2 is as near to sRGB, relative to white."""


def ignored_colours(data: bytes, tags: Directory, layout: Layout) -> list[str]:
    """Return a sentence for each tag that states other colours than sRGB without a profile."""
    names = [name for name, is_other in _stated(tags, layout) if is_other]
    warnings = [f"colour: {name} is ignored: expected an ICC profile" for name in names]
    if _says_adobe_rgb(data, tags):
        warnings.append(ADOBE_RGB_BY_EXIF)
    return warnings


def _stated(tags: Directory, layout: Layout) -> Iterator[tuple[str, bool]]:
    """Yield names of tags, and whether what they state is not sRGB."""
    if primaries := tags.numbers(Tag.PRIMARY_CHROMATICITIES):
        yield "PrimaryChromaticities", not are_srgb(primaries)
    if white := tags.numbers(Tag.WHITE_POINT):
        yield "WhitePoint", len(white) != 2 or not np.allclose(white, _D65, atol=0.002)
    if (curve := tags.blob(Tag.TRANSFER_FUNCTION)) is not None:
        yield "TransferFunction", not _is_srgb_curve(curve, tags.form.order, layout.bits)
    yield "GrayResponseCurve", tags.blob(Tag.GREY_RESPONSE_CURVE) is not None
    # libtiff applies it to subsampled YCbCr, unless that is in JPEG.
    is_jpeg = layout.compression in (JPEG, OLD_JPEG)
    if layout.photometric == RGB or is_jpeg or layout.is_plain_ycbcr:
        levels = tags.numbers(Tag.REFERENCE_BLACK_WHITE)
        black, white_level = (128, 255) if layout.photometric == YCBCR else (0, 2**layout.bits - 1)
        usual = (0, white_level, black, white_level, black, white_level)
        yield "ReferenceBlackWhite", bool(levels) and levels != usual


def _is_srgb_curve(stored: bytes, order: str, bits: int) -> bool:
    """Return whether the tables of one or three channels, one after the other, are near sRGB."""
    count = 2 ** min(bits, 16)
    values = np.frombuffer(stored[: len(stored) // 2 * 2], f"{order}u2") / 65535
    if len(values) not in (count, 3 * count):
        return False
    light = evaluate(SRGB, np.linspace(0, 1, count))
    return bool(np.allclose(values.reshape(-1, count), light, rtol=0, atol=_NEAR))


def _says_adobe_rgb(data: bytes, tags: Directory) -> bool:
    if not (place := tags.number(Tag.EXIF, 0)):
        return False
    try:
        exif = read_directory(data, place)
    except CorruptImage:  # Nothing else of it is read.
        return False
    return exif.number(Tag.COLOR_SPACE, 1) == ADOBE_RGB_SPACE


def lab_to_rgb(pixels: NDArray[Any]) -> NDArray[np.uint16]:
    """Convert Lab of 8 or 16 bits, whose a* and b* have a sign, to sRGB of 16 bits."""
    top, sign = (255, np.int8) if pixels.dtype == np.uint8 else (65_535, np.int16)
    lab = np.ascontiguousarray(pixels).view(sign).astype(np.float32)
    lab[:, :, 0] = pixels[:, :, 0] * np.float32(100 / top)
    if pixels.dtype == np.uint16:
        lab[:, :, 1:] /= 256
    return lab_to_srgb(lab)


def ycbcr_to_rgb(pixels: NDArray[Any], coefficients: tuple[float, ...]) -> NDArray[np.uint8]:
    """Convert YCbCr of full range, (H, W, 3) uint8."""
    red, green, blue = coefficients if len(coefficients) == 3 and all(coefficients) else _REC_601
    y, cb, cr = (pixels[:, :, band].astype(np.float32) for band in range(3))
    r = y + (2 - 2 * red) * (cr - 128)
    b = y + (2 - 2 * blue) * (cb - 128)
    g = (y - red * r - blue * b) / green
    return np.clip(np.stack([r, g, b], axis=2) + 0.5, 0, 255).astype(np.uint8)
