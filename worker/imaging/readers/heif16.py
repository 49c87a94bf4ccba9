"""HEIC and AVIF of more than 8 bits per channel, of which Pillow keeps 8."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pillow_heif
import pyvips
from numpy.typing import NDArray
from PIL import Image

from worker.errors import CorruptImage
from worker.imaging import libvips
from worker.imaging.bombs.heif_picture import av1_bits, is_animated, is_premultiplied
from worker.imaging.colour.embedded import embedded_profile
from worker.imaging.masks import Size
from worker.imaging.orientation import read_orientation, resolution
from worker.imaging.png import Resolution
from worker.imaging.readers.several import other_pictures
from worker.imaging.readers.stored import Facts, Space, Strip
from worker.imaging.readers.tiff_pixels import divide_by_alpha
from worker.imaging.strips import strips

_GREY: Final = ("1", "L", "LA", "La", "I;16")


def stored_bits(data: bytes, image: Image.Image) -> int:
    """Return the bits per channel of a HEIC or AVIF that Pillow has opened; 8 of other formats."""
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8))
    return av1_bits(data) if image.format == "AVIF" else 8


def open_deep(data: bytes, image: Image.Image) -> "DeepHeifImage | None":
    """Return a HEIC or AVIF of more than 8 bits that Pillow has opened.

    Return None for other files, and for an AVIF that Pillow alone reads, such as an animation.
    """
    if stored_bits(data, image) <= 8:
        return None
    if image.format == "HEIF":
        return DeepHeifImage(data, image, None)
    if is_animated(data):
        return None
    try:
        loaded = pyvips.Image.heifload_buffer(data, fail_on="error", access="sequential")
    except pyvips.Error:
        return None
    return DeepHeifImage(data, image, loaded)


class DeepHeifImage:
    """A `StoredImage` of a HEIC, read by pillow-heif, or an AVIF, read by libvips."""

    def __init__(self, data: bytes, image: Image.Image, loaded: pyvips.Image | None) -> None:
        """Take a file as Pillow has opened it, and an AVIF also as libvips has opened it."""
        self._data, self._image, self._loaded = data, image, loaded
        self._bits = stored_bits(data, image)
        self._is_grey = image.mode in _GREY
        has_alpha = image.mode.endswith(("A", "a"))
        self.facts = Facts(
            format=str(image.format),
            mode=image.mode,
            # Pillow does not crop and turn an AVIF as its boxes say.
            size=image.size if loaded is None else (loaded.width, loaded.height),
            has_transparency=has_alpha,
            bits=16,
            pixel_bytes=2 * (3 + has_alpha),
            warnings=other_pictures(data, image),
        )

    def read(self, min_size: Size | None) -> tuple[Size, Iterator[Strip]]:  # noqa: ARG002 - it has one size
        """Decode the pixels; raise an error of the library for a broken file, or in a strip."""
        if self._loaded is not None:
            return self.facts.size, self._strips(libvips.read_strips(self._loaded))
        pixels = self._decode_heic()
        height, width = pixels.shape[:2]
        if (width, height) != self.facts.size:
            expected = f"{self.facts.size[0]}×{self.facts.size[1]}"
            raise CorruptImage(
                f"expected {expected} pixels as the boxes say, found {width}×{height}"
            )
        rows = strips(height, width)
        return (width, height), self._strips((part, pixels[part]) for part in rows)

    def space(self) -> Space:
        """Return grey or RGB."""
        return "grey" if self._is_grey else "rgb"

    def icc_profile(self, warnings: list[str]) -> object:
        """Return the embedded profile."""
        return embedded_profile(self._data, self._image, warnings)

    def orientation(self, warnings: list[str]) -> int:
        """Return 1 for an AVIF, which libvips turns upright; a HEIC is upright but for its EXIF."""
        return 1 if self._loaded is not None else read_orientation(self._image, warnings)

    def dpi(self) -> Resolution | None:
        """Return the resolution in EXIF."""
        return resolution(self._image)

    def close(self) -> None:
        """Release the file that Pillow holds."""
        self._image.close()

    def _decode_heic(self) -> NDArray[np.uint16]:
        file = pillow_heif.open_heif(self._data, convert_hdr_to_8bit=False, hdr_to_16bit=True)
        pixels: NDArray[np.uint16] = np.asarray(file[self._image.tell()])
        return pixels.reshape(*pixels.shape[:2], -1)

    def _strips(self, parts: Iterator[tuple[slice, NDArray[Any]]]) -> Iterator[Strip]:
        is_multiplied = is_premultiplied(self._data)
        for rows, part in parts:
            # The libraries shift samples to the left: repeat the bits, so that white is 65,535.
            pixels = part | part >> self._bits
            alpha = pixels[:, :, -1] if self.facts.has_transparency else None
            colours = pixels[:, :, : 1 if self._is_grey else 3]
            if alpha is not None and is_multiplied:
                colours = divide_by_alpha(colours, alpha)
            yield Strip(rows, colours, alpha)
