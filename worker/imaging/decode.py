"""Bytes to pixels: formats, limits, orientation, colour.

Pixels are uint8 or uint16, straight (not premultiplied) and upright: RGB arrays (H, W, 3), alpha
(H, W).
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import pillow_heif
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from worker.errors import (
    CorruptImage,
    CutworkError,
    EmptySource,
    ImageTooLarge,
    NotAnImage,
)
from worker.imaging.bombs import bmp, gif, heif, jpeg, png, tiff
from worker.imaging.colour_modes import has_transparency, to_eight_bits, to_rgb
from worker.imaging.libvips import has_sixteen_bits, read_sixteen_bits
from worker.imaging.masks import Depth, Pixels, at_depth
from worker.imaging.orientation import resolution, upright
from worker.imaging.strips import strips

# Our own limit is exact and has a code; Pillow's is a warning first and an error at twice that.
Image.MAX_IMAGE_PIXELS = None
# Plugins register here, once, and not in the first threads that meet their formats.
Image.init()
pillow_heif.register_heif_opener()

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF")
"""Every other plugin of Pillow stays out of reach of what a stranger uploads."""

_LONGEST_SIDE: Final = 1_000_000
"""Pixels. A row costs memory of its own, and a row too long is refused by Pillow's encoders."""

# EXIF is read by it too; some formats' plugins do so when they open a file.
TiffImagePlugin.ImageFileDirectory_v2 = tiff.BoundedDirectory  # type: ignore[misc]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded image."""

    rgb: Pixels
    """(H, W, 3), straight."""
    alpha: Pixels | None
    """(H, W) when the source had transparency."""
    icc_profile: bytes | None
    """RGB profile to keep in the outputs."""
    dpi: tuple[float, float] | None
    format: str
    mode: str
    """Pillow's name of the pixel format as stored."""
    warnings: tuple[str, ...]
    size: tuple[int, int]
    """Width and height in pixels: of the image, which may have been decoded smaller."""


class Header(NamedTuple):
    """What is known of an image before a pixel is decoded."""

    format: str
    mode: str
    """Pillow's name of the pixel format as stored."""
    size: tuple[int, int]
    """Width and height in pixels, as stored."""
    transparent: bool
    sixteen: bool
    """Whether it has 16 bits a channel that can be kept."""


def decode(
    data: bytes,
    *,
    max_pixels: int,
    depth: Depth = np.uint8,
    enough: tuple[int, int] | None = None,
    admit: Callable[[Header], None] = lambda _: None,
) -> Picture:
    """Decode the first frame of an image, upright, as straight RGB and alpha of a depth.

    16-bit input is read in 16 bits where that is asked for, and by its high byte else; 8-bit input
    is widened. A JPEG may be decoded at a half, a quarter or an eighth of its size, where that is
    still as wide and high as is `enough`. The size is checked before a pixel is decoded, then
    `admit` is called: it may wait, or raise what it refuses.

    Raises `EmptySource`, `NotAnImage`, `ImageTooLarge`, `CorruptImage` or `UnsupportedImage`.
    """
    if not data:
        raise EmptySource("expected an image, found an object of 0 bytes")
    _check_structure(data)
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        header = Header(
            format=str(image.format),
            mode=image.mode,
            size=image.size,
            transparent=has_transparency(image),
            sixteen=has_sixteen_bits(data, image),
        )
    except UnidentifiedImageError as error:
        raise NotAnImage(
            f"expected one of {', '.join(_FORMATS)}, found {len(data)} bytes that begin with "
            f"{data[:12]!r}"
        ) from error
    except (MemoryError, CutworkError):
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsers raise.
        raise CorruptImage(f"the header cannot be read: {error}") from error
    with image:
        _check_opened(data, image, max_pixels)
        admit(header)
        try:
            wide = None
            if header.sixteen and depth is np.uint16:
                if image.format == "TIFF":
                    tiff.check_directories(data)
                wide = read_sixteen_bits(data, image)
            if enough is not None and image.format == "JPEG":
                # As stored it may lie on its side.
                image.draft(image.mode, (max(enough), max(enough)))
            image.load()
        except (MemoryError, CutworkError):
            raise
        except Exception as error:
            width, height = header.size
            raise CorruptImage(
                f"{image.format} of {width}×{height} whose pixels cannot be decoded to the end: "
                f"{error}; the upload may have been cut short"
            ) from error
        picture = _picture(image, header.size)
    if depth is np.uint8:
        return picture
    if wide is None and header.sixteen:
        lost = "bit_depth: 8 of the source's 16 bits are kept, its kind of pixels is read so"
        picture = replace(picture, warnings=(*picture.warnings, lost))
    return _widened(picture, wide)


def _check_structure(data: bytes) -> None:
    """Raise `DecompressionBomb` where opening the file alone would take too long."""
    if data.startswith(b"\xff\xd8\xff"):
        jpeg.check_header(data)
    elif data.startswith(b"\x89PNG"):
        png.check_chunks(data)
    elif data.startswith(b"GIF8"):
        gif.check_blocks(data)


def _check_opened(data: bytes, image: Image.Image, max_pixels: int) -> None:
    """Raise `ImageTooLarge`, `CorruptImage` or `DecompressionBomb` before a pixel is decoded."""
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"expected at most {max_pixels:,} pixels (CUTWORK_MAX_PIXELS), "
            f"found {width}×{height} = {width * height:,}"
        )
    if max(width, height) > _LONGEST_SIDE:
        raise ImageTooLarge(
            f"expected at most {_LONGEST_SIDE:,} pixels a side, found {width}×{height}"
        )
    if width == 0 or height == 0:
        raise CorruptImage(f"expected at least one pixel, found {width}×{height}")
    if image.format in ("JPEG", "MPO"):
        jpeg.check_scans(data, width * height)
    elif image.format in ("AVIF", "HEIF"):
        heif.check_length(data)
        heif.check_parts(data, max_pixels)
    elif image.format == "TIFF":
        tiff.check_tiles(image, max_pixels)
    elif image.format == "BMP" and image.info.get("compression"):
        bmp.check_run_lengths(data, width * height)


def _widened(picture: Picture, wide: Pixels | None) -> Picture:
    """The picture in 16 bits: as stored, or from 8 bits where no more is stored."""
    alpha = None if picture.alpha is None else at_depth(picture.alpha, np.uint16)
    if wide is None or wide.shape[:2] != picture.rgb.shape[:2]:
        return replace(picture, rgb=at_depth(picture.rgb, np.uint16), alpha=alpha)
    # Whether a fourth channel is alpha is Pillow's word, in 8 bits and in 16.
    if alpha is not None and wide.shape[2] == 4:
        alpha = np.ascontiguousarray(wide[:, :, 3])
    return replace(picture, rgb=np.ascontiguousarray(wide[:, :, :3]), alpha=alpha)


def _picture(image: Image.Image, size: tuple[int, int]) -> Picture:
    warnings: list[str] = []
    stored_format, stored_mode = str(image.format), image.mode
    profile = image.info.get("icc_profile")
    turned, sideways = upright(image, warnings)
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
    """Colours and alpha of an RGB or RGBA image; some rows at a time, as Pillow copies twice."""
    width, height = image.size
    rgb = np.empty((height, width, 3), np.uint8)
    alpha = np.empty((height, width), np.uint8) if image.mode == "RGBA" else None
    for rows in strips(height, width):
        part = np.asarray(image.crop((0, rows.start, width, rows.stop)))
        rgb[rows] = part[:, :, :3]
        if alpha is not None:
            alpha[rows] = part[:, :, 3]
    return rgb, alpha
