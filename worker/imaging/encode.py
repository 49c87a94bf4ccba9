"""Pixels to an encoded output, with colour profile and resolution as its only metadata.

Other metadata of the source (orientation, thumbnail, camera data) would be wrong for a cut-out and
is not copied.
"""

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from worker.errors import OptionConflict
from worker.imaging import libvips
from worker.imaging.masks import Pixels, to_uint8
from worker.imaging.png import Resolution, write_png

_INCH: Final = 2
"""Value of the EXIF tag `ResolutionUnit`."""


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """The settings that apply to every format."""

    icc_profile: bytes | None = None
    dpi: Resolution | None = None
    quality: int | None = None
    """1…100, for formats that have it; None is the format's default."""


class Format(NamedTuple):
    """One output format."""

    content_type: str
    suffixes: tuple[str, ...]
    encode: Callable[[Pixels, EncodeSettings], bytes]
    max_side: int = 2**31 - 1
    has_quality: bool = False


def check_encodable(size: tuple[int, int], *, image_format: str) -> None:
    """Raise `OptionConflict` if a width and height exceed what a format can store."""
    max_side = FORMATS[image_format].max_side
    if max(size) > max_side:
        raise OptionConflict(
            f"{image_format}: expected at most {max_side:,} pixels a side, found "
            f"{size[0]}×{size[1]}; use png or tiff"
        )


def encode(pixels: Pixels, *, image_format: str, settings: EncodeSettings) -> bytes:
    """Encode straight RGBA (H, W, 4), RGB (H, W, 3) or a mask (H, W), of uint8 or uint16.

    `image_format` is one of `FORMATS`. PNG and TIFF keep 16 bits per channel.
    """
    return FORMATS[image_format].encode(pixels, settings)


def _png(pixels: Pixels, settings: EncodeSettings) -> bytes:
    return write_png(pixels, icc_profile=settings.icc_profile, dpi=settings.dpi)


def _tiff(pixels: Pixels, settings: EncodeSettings) -> bytes:
    return libvips.write_tiff(pixels, icc_profile=settings.icc_profile, dpi=settings.dpi)


def _webp(pixels: Pixels, settings: EncodeSettings) -> bytes:
    if settings.quality is None:
        # `exact` keeps the colours of fully transparent pixels, as the other formats do.
        return _pillow(pixels, settings, "WEBP", lossless=True, exact=True, method=2)
    return _pillow(pixels, settings, "WEBP", quality=settings.quality, method=4)


def _avif(pixels: Pixels, settings: EncodeSettings) -> bytes:
    # Subsampled colour would bleed at the edges of a cut-out. Slower speeds gain little.
    options = {"quality": settings.quality or 80, "subsampling": "4:4:4", "speed": 8}
    return _pillow(pixels, settings, "AVIF", **options)


def _jpeg(pixels: Pixels, settings: EncodeSettings) -> bytes:
    options = {"quality": settings.quality or 92, "subsampling": 0}
    return _pillow(pixels[:, :, :3], settings, "JPEG", **options)


def _zip(pixels: Pixels, settings: EncodeSettings) -> bytes:
    """Return an archive of `colour.jpg` and `alpha.png`: small, with a lossless alpha."""
    alpha = pixels[:, :, 3] if pixels.shape[2] == 4 else np.full_like(pixels[:, :, 0], 255)
    parts = {
        "colour.jpg": _jpeg(pixels, settings),
        "alpha.png": write_png(alpha, icc_profile=None, dpi=settings.dpi),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            # `ZipInfo` sets a fixed date, so that the same cut-out gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def _pillow(pixels: Pixels, settings: EncodeSettings, name: str, **options: Any) -> bytes:
    if settings.icc_profile is not None:
        options["icc_profile"] = settings.icc_profile
    if settings.dpi is not None:
        options |= {"dpi": settings.dpi} if name == "JPEG" else {"exif": _resolution(settings.dpi)}
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(pixels)).save(buffer, format=name, **options)
    return buffer.getvalue()


def _resolution(dpi: Resolution) -> Image.Exif:
    """Return EXIF with the resolution alone, for formats without a header field for it."""
    exif = Image.Exif()
    exif[Base.XResolution], exif[Base.YResolution] = dpi
    exif[Base.ResolutionUnit] = _INCH
    return exif


FORMATS: Final[Mapping[str, Format]] = {
    "png": Format("image/png", (".png",), _png),
    "webp": Format("image/webp", (".webp",), _webp, max_side=16_383, has_quality=True),
    "avif": Format("image/avif", (".avif",), _avif, max_side=65_536, has_quality=True),
    "tiff": Format("image/tiff", (".tif", ".tiff"), _tiff),
    "jpeg": Format("image/jpeg", (".jpg", ".jpeg"), _jpeg, max_side=65_500, has_quality=True),
    "zip": Format("application/zip", (".zip",), _zip, max_side=65_500, has_quality=True),
}
