"""Encoded images to pixels: formats, limits, orientation, colour.

Pixels are uint8 or uint16, straight (not premultiplied) and upright: RGB arrays (H, W, 3), alpha
(H, W).
"""

import io
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import pillow_heif
from PIL import Image, UnidentifiedImageError

from worker.errors import CorruptImage, CutworkError, EmptySource, ImageTooLarge, NotAnImage
from worker.imaging import pillow_patches
from worker.imaging.bombs import bmp, gif, heif, jpeg, png, tiff
from worker.imaging.colour_modes import has_transparency, to_eight_bits, to_rgb
from worker.imaging.libvips import has_sixteen_bits, read_sixteen_bits
from worker.imaging.masks import Depth, Pixels, Size, to_depth
from worker.imaging.orientation import resolution, turn_upright
from worker.imaging.strips import strips

# `max_pixels` is exact and has an error code; Pillow only warns at its own limit and raises at
# twice that.
Image.MAX_IMAGE_PIXELS = None
# Register Pillow's plugins once here, not in the first threads that meet their formats.
Image.init()
pillow_patches.install()
pillow_heif.register_heif_opener()

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF")
"""The formats that are accepted; untrusted input never reaches Pillow's other plugins."""

_STRUCTURE_CHECKS: Final = {
    b"\xff\xd8\xff": jpeg.check_header,
    b"\x89PNG": png.check_chunks,
    b"GIF8": gif.check_blocks,
}
"""By signature: raise `DecompressionBomb` if even opening the file would take too long."""

_MAX_SIDE: Final = 1_000_000
"""Pixels. Each row costs memory of its own, and Pillow's encoders refuse rows that are too long."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded image."""

    rgb: Pixels
    """(H, W, 3), straight."""
    alpha: Pixels | None
    """(H, W); None where the source has no transparency."""
    icc_profile: bytes | None
    """RGB profile to embed in the outputs."""
    dpi: tuple[float, float] | None
    format: str
    mode: str
    """Pillow's name of the pixel format as stored."""
    warnings: tuple[str, ...]
    size: Size
    """Of the whole image, in pixels; `rgb` may have been decoded smaller."""


class Header(NamedTuple):
    """What is known of an image before its pixels are decoded."""

    format: str
    mode: str
    """Pillow's name of the pixel format as stored."""
    size: Size
    """In pixels, as stored."""
    has_transparency: bool
    has_sixteen_bits: bool
    """Whether it has 16 bits per channel that can be kept."""


class OpenedImage:
    """An image whose header has passed the checks and whose pixels are still encoded."""

    def __init__(self, data: bytes, image: Image.Image, header: Header) -> None:
        self.header = header
        self._data = data
        self._image = image

    def decode(self, *, depth: Depth = np.uint8, min_size: Size | None = None) -> Picture:
        """Decode the first frame, upright, as straight RGB and alpha of the given depth; call once.

        With `depth=np.uint16`, 16-bit sources keep their 16 bits and 8-bit sources are widened;
        with `np.uint8`, 16-bit sources are reduced to their high byte. With `min_size`, a JPEG may
        be decoded at a half, a quarter or an eighth of its size, as long as it stays at least that
        wide and high.

        Raises `CorruptImage`, `DecompressionBomb` or `UnsupportedImage`.
        """
        data, image, header = self._data, self._image, self.header
        with image:
            try:
                pixels_16 = None
                if header.has_sixteen_bits and depth is np.uint16:
                    if image.format == "TIFF":
                        tiff.check_page_count(data)
                    pixels_16 = read_sixteen_bits(data, image)
                if min_size is not None and image.format == "JPEG":
                    # The stored image may lie on its side.
                    image.draft(image.mode, (max(min_size), max(min_size)))
                image.load()
            except (MemoryError, CutworkError):
                raise
            except Exception as error:
                width, height = header.size
                raise CorruptImage(
                    f"expected a complete {image.format} of {width}×{height}, found pixels that "
                    f"cannot be decoded to the end: {error}; the upload may have been cut short"
                ) from error
            picture = _picture(image, header.size)
        if depth is np.uint8:
            return picture
        if pixels_16 is None and header.has_sixteen_bits:
            warning = (
                "bit_depth: 8 of the source's 16 bits are kept; this pixel format is read with 8"
            )
            picture = replace(picture, warnings=(*picture.warnings, warning))
        return _to_sixteen_bits(picture, pixels_16)


def open_image(data: bytes, *, max_pixels: int) -> OpenedImage:
    """Read an image's header and check it, without decoding a pixel.

    Raises `EmptySource`, `NotAnImage`, `ImageTooLarge`, `CorruptImage` or `DecompressionBomb`.
    """
    if not data:
        raise EmptySource("expected an image, found an object of 0 bytes")
    for signature, check in _STRUCTURE_CHECKS.items():
        if data.startswith(signature):
            check(data)
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        header = Header(
            format=str(image.format),
            mode=image.mode,
            size=image.size,
            has_transparency=has_transparency(image),
            has_sixteen_bits=has_sixteen_bits(data, image),
        )
    except UnidentifiedImageError as error:
        raise NotAnImage(
            f"expected one of {', '.join(_FORMATS)}, found {len(data)} bytes that begin with "
            f"{data[:12]!r}"
        ) from error
    except (MemoryError, CutworkError):
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsers raise.
        sentence = f"expected an image, found a header that cannot be read: {error}"
        raise CorruptImage(sentence) from error
    _check_opened(data, image, max_pixels)
    return OpenedImage(data, image, header)


def _check_opened(data: bytes, image: Image.Image, max_pixels: int) -> None:
    """Raise `ImageTooLarge`, `CorruptImage` or `DecompressionBomb` for a dangerous header."""
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"expected at most {max_pixels:,} pixels (CUTWORK_MAX_PIXELS), "
            f"found {width}×{height} = {width * height:,}"
        )
    if max(width, height) > _MAX_SIDE:
        raise ImageTooLarge(f"expected at most {_MAX_SIDE:,} pixels a side, found {width}×{height}")
    if width == 0 or height == 0:
        raise CorruptImage(f"expected at least one pixel, found {width}×{height}")
    if image.format in ("JPEG", "MPO"):
        jpeg.check_scans(data, width * height)
    elif image.format in ("AVIF", "HEIF"):
        heif.check_cost(data, max_pixels)
    elif image.format == "TIFF":
        tiff.check_tiles(image, max_pixels)
    elif image.format == "BMP" and image.info.get("compression"):
        bmp.check_run_lengths(data, width * height)


def _to_sixteen_bits(picture: Picture, pixels_16: Pixels | None) -> Picture:
    """Return the picture with 16 bits per channel: `pixels_16` if they fit it, else widened."""
    alpha = None if picture.alpha is None else to_depth(picture.alpha, np.uint16)
    if pixels_16 is None or pixels_16.shape[:2] != picture.rgb.shape[:2]:
        return replace(picture, rgb=to_depth(picture.rgb, np.uint16), alpha=alpha)
    # Pillow decides whether the fourth channel is alpha, for 8 bits and for 16.
    if alpha is not None and pixels_16.shape[2] == 4:
        alpha = np.ascontiguousarray(pixels_16[:, :, 3])
    return replace(picture, rgb=np.ascontiguousarray(pixels_16[:, :, :3]), alpha=alpha)


def _picture(image: Image.Image, size: Size) -> Picture:
    warnings: list[str] = []
    stored_format, stored_mode = str(image.format), image.mode
    profile = image.info.get("icc_profile")
    turned, sideways = turn_upright(image, warnings)
    converted, kept = to_rgb(to_eight_bits(turned), profile, warnings)
    rgb, alpha = _arrays(converted)
    return Picture(
        rgb=rgb,
        alpha=alpha,
        icc_profile=kept,
        dpi=resolution(image),
        format="JPEG" if stored_format == "MPO" else stored_format,
        mode=stored_mode,
        warnings=tuple(warnings),
        size=size[::-1] if sideways else size,
    )


def _arrays(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    """Return colours and alpha of an RGB or RGBA image, by strips because Pillow copies twice."""
    width, height = image.size
    rgb = np.empty((height, width, 3), np.uint8)
    alpha = np.empty((height, width), np.uint8) if image.mode == "RGBA" else None
    for rows in strips(height, width):
        part = np.asarray(image.crop((0, rows.start, width, rows.stop)))
        rgb[rows] = part[:, :, :3]
        if alpha is not None:
            alpha[rows] = part[:, :, 3]
    return rgb, alpha
