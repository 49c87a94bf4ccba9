"""Encoded images to pixels: formats, limits, orientation, colour.

Pixels are uint8 or uint16, straight (not premultiplied) and upright: RGB arrays (H, W, 3), alpha
(H, W). A file is read by one reader and converted in its own depth; the depth that is asked for
only decides about the last step, so that the 8-bit pixels of a file are always the high byte of its
16-bit pixels.
"""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pillow_heif
from PIL import Image, UnidentifiedImageError

from worker.errors import CorruptImage, CutworkError, EmptySource, ImageTooLarge, NotAnImage
from worker.imaging import pillow_patches
from worker.imaging.bombs import bmp, gif, heif, jpeg, png, webp
from worker.imaging.colour.stated import stated_colour
from worker.imaging.colour_conversion import conversion
from worker.imaging.masks import Depth, Pixels, Size, to_depth
from worker.imaging.orientation import is_sideways, upright
from worker.imaging.readers.heif16 import open_deep
from worker.imaging.readers.pillow import PillowImage
from worker.imaging.readers.png16 import Png16Image, has_sixteen_bits
from worker.imaging.readers.refusals import refusal
from worker.imaging.readers.signature import FORMATS, format_of, name_other
from worker.imaging.readers.stored import Facts, StoredImage, Strip
from worker.imaging.readers.tiff import TiffImage

# `max_pixels` is exact and has an error code; Pillow only warns at its own limit and raises at
# twice that.
Image.MAX_IMAGE_PIXELS = None
# Register Pillow's plugins once here, not in the first threads that meet their formats.
Image.init()
pillow_patches.install()
pillow_heif.register_heif_opener()

_STRUCTURE_CHECKS: Final = {
    "JPEG": jpeg.check_header,
    "PNG": png.check_chunks,
    "GIF": gif.check_blocks,
    "WEBP": webp.check_chunks,
}
"""Raise `DecompressionBomb` if even opening the file would take too long."""

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


class OpenedImage:
    """An image whose header has passed the checks and whose pixels are still encoded."""

    def __init__(
        self, data: bytes, container: str, stored: StoredImage, decoded_pixels: int
    ) -> None:
        self.header: Facts = replace(stored.facts, decoded_pixels=decoded_pixels)
        self._data, self._container = data, container
        self._stored = stored

    def decode(self, *, depth: Depth = np.uint8, min_size: Size | None = None) -> Picture:
        """Decode the first frame, upright, as straight RGB and alpha of the given depth; call once.

        With `depth=np.uint16`, sources of more than 8 bits keep 16, and 8-bit sources are widened;
        with `np.uint8`, 16 bits are reduced to their high byte. With `min_size`, a JPEG may be
        decoded at a half, a quarter or an eighth of its size, as long as it stays at least that
        wide and high.

        Raises `CorruptImage`, `DecompressionBomb` or `UnsupportedImage`.
        """
        stored, header = self._stored, self.header
        warnings = list(header.warnings)
        try:
            size, strips = stored.read(min_size)
            colour = stated_colour(
                self._data, self._container, stored.icc_profile(warnings), warnings
            )
            convert, icc_profile = conversion(
                stored.space(), colour, sixteen_bits=header.bits == 16, warnings=warnings
            )
            rgb, alpha = _pixels(
                strips, size, convert, depth=depth, has_alpha=header.has_transparency
            )
            orientation, dpi = stored.orientation(warnings), stored.dpi()
        except (MemoryError, CutworkError):
            raise
        except Exception as error:
            width, height = header.size
            sentence = (
                f"expected a complete {header.format} of {width}×{height}, found pixels that "
                f"cannot be decoded to the end: {error}; the upload may have been cut short"
            )
            raise refusal(self._data, self._container, sentence) from error
        finally:
            stored.close()
        rgb = upright(rgb, orientation)
        return Picture(
            rgb=rgb,
            alpha=None if alpha is None else upright(alpha, orientation),
            icc_profile=icc_profile,
            dpi=dpi,
            format=header.format,
            mode=header.mode,
            warnings=tuple(warnings),
            size=header.size[::-1] if is_sideways(orientation) else header.size,
        )


def open_image(data: bytes, *, max_pixels: int) -> OpenedImage:
    """Read an image's header and check it, without decoding a pixel.

    Raises `EmptySource`, `NotAnImage`, `UnsupportedImage`, `ImageTooLarge`, `CorruptImage` or
    `DecompressionBomb`.
    """
    if not data:
        raise EmptySource("expected an image, found an object of 0 bytes")
    container = format_of(data)
    if container is None:
        raise NotAnImage(f"expected one of {', '.join(FORMATS)}, found {name_other(data)}")
    if container in _STRUCTURE_CHECKS:
        _STRUCTURE_CHECKS[container](data)
    if container == "TIFF":
        stored: StoredImage = TiffImage(data, max_pixels)
    else:
        stored = _stored_image(data, container)
    _check_size(stored.facts.size, max_pixels)
    decoded = _check_cost(data, container, stored.facts.size, max_pixels)
    return OpenedImage(data, container, stored, decoded)


def _stored_image(data: bytes, container: str) -> StoredImage:
    """Return the reader of a file that Pillow can open."""
    image = _open_with_pillow(data, container)
    if container == "PNG" and has_sixteen_bits(data):
        return Png16Image(data, image)
    return open_deep(data, image) or PillowImage(data, image)


def _open_with_pillow(data: bytes, container: str) -> Image.Image:
    """Open a file of a known container; raise `UnsupportedImage` or `CorruptImage`."""
    # Both plugins read files of either brand.
    formats = ("AVIF", "HEIF") if container in ("AVIF", "HEIF") else (container,)
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except (MemoryError, CutworkError):
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsers raise.
        reason = "" if isinstance(error, UnidentifiedImageError) else f": {error}"
        sentence = f"expected a complete {container}, found a header that cannot be read{reason}"
        raise refusal(data, container, sentence) from error


def _check_size(size: Size, max_pixels: int) -> None:
    """Raise `ImageTooLarge` or `CorruptImage`."""
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"expected at most {max_pixels:,} pixels (CUTWORK_MAX_PIXELS), "
            f"found {width}×{height} = {width * height:,}"
        )
    if max(width, height) > _MAX_SIDE:
        raise ImageTooLarge(f"expected at most {_MAX_SIDE:,} pixels a side, found {width}×{height}")
    if width == 0 or height == 0:
        raise CorruptImage(f"expected at least one pixel, found {width}×{height}")


def _check_cost(data: bytes, container: str, size: Size, max_pixels: int) -> int:
    """Return the pixels that are decoded at once, as far as they may be more than those of `size`.

    Raise `DecompressionBomb` or `ImageTooLarge` for pixels that take too long to decode.
    """
    pixels = size[0] * size[1]
    if container == "JPEG":
        jpeg.check_scans(data, pixels)
    elif container in ("AVIF", "HEIF"):
        return heif.decoded_pixels(data, max_pixels)
    elif container == "BMP" and bmp.is_run_length_coded(data):
        bmp.check_run_lengths(data, pixels)
    return pixels


def _pixels(
    strips: Iterable[Strip],
    size: Size,
    convert: Callable[[Pixels], Pixels],
    *,
    depth: Depth,
    has_alpha: bool,
) -> tuple[Pixels, Pixels | None]:
    """Return RGB (H, W, 3) and alpha (H, W) of a depth, as stored."""
    width, height = size
    rgb = np.empty((height, width, 3), depth)
    alpha = np.empty((height, width), depth) if has_alpha else None
    for strip in strips:
        rgb[strip.rows] = to_depth(convert(strip.colours), depth)
        if alpha is not None and strip.alpha is not None:
            alpha[strip.rows] = to_depth(strip.alpha, depth)
    return rgb, alpha
