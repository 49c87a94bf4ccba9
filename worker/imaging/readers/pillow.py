"""Images that Pillow reads: all formats but TIFF and 16-bit PNG."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.errors import CorruptImage
from worker.imaging.colour.embedded import embedded_profile
from worker.imaging.masks import Pixels, Size
from worker.imaging.orientation import read_orientation, resolution
from worker.imaging.pillow_patches import ignored_chunks
from worker.imaging.png import Resolution
from worker.imaging.readers.canvas import clear_outside, covered_part
from worker.imaging.readers.heif16 import stored_bits
from worker.imaging.readers.several import other_pictures
from worker.imaging.readers.stored import Facts, Space, Strip
from worker.imaging.strips import strips

_PNG_DEPTH_OFFSET: Final = 24
_SPACES: Final[dict[str, Space]] = {
    **dict.fromkeys(("1", "L", "LA"), "grey"),
    "CMYK": "cmyk",
}
"""By Pillow's mode; all others become RGB."""
_WITH_ALPHA: Final = {"grey": "LA", "rgb": "RGBA"}
_WITHOUT_ALPHA: Final = {"grey": "L", "rgb": "RGB", "cmyk": "CMYK"}


class PillowImage:
    """A `StoredImage` of 8 bits per channel."""

    def __init__(self, data: bytes, image: Image.Image) -> None:
        """Take an image that Pillow has opened from `data`; raise `CorruptImage`."""
        self._data, self._image = data, image
        self._key = _transparent_level(data, image)
        self._covered = covered_part(data, image)
        self.facts = Facts(
            # An MPO is a JPEG with further pictures after the first.
            format="JPEG" if image.format == "MPO" else str(image.format),
            mode=image.mode,
            size=image.size,
            has_transparency=_has_transparency(image) or self._covered is not None,
            warnings=(
                *other_pictures(data, image),
                *_lost_bits(data, image),
                *ignored_chunks(image),
            ),
        )

    def read(self, min_size: Size | None) -> tuple[Size, Iterator[Strip]]:
        """Load the pixels; a JPEG also at a half, a quarter or an eighth of its size."""
        image = self._image
        if min_size is not None and image.format == "JPEG":
            # The stored image may lie on its side.
            image.draft(image.mode, (max(min_size), max(min_size)))
        image.load()
        return image.size, self._strips()

    def space(self) -> Space:
        """Return the colour space that the strips are in."""
        return _SPACES.get(self._image.mode, "rgb")

    def icc_profile(self, warnings: list[str]) -> object:
        """Return the embedded profile."""
        return embedded_profile(self._data, self._image, warnings)

    def orientation(self, warnings: list[str]) -> int:
        """Return the orientation from EXIF or XMP."""
        return read_orientation(self._image, warnings)

    def dpi(self) -> Resolution | None:
        """Return the format's own resolution or that in EXIF."""
        return resolution(self._image)

    def close(self) -> None:
        """Free the pixels; the metadata stay readable."""
        self._image.close()

    def _strips(self) -> Iterator[Strip]:
        image, space = self._image, self.space()
        has_alpha = self._key is None and _has_transparency(image) and space in _WITH_ALPHA
        mode = (_WITH_ALPHA if has_alpha else _WITHOUT_ALPHA)[space]
        width, height = image.size
        for rows in strips(height, width):
            part = image.crop((0, rows.start, width, rows.stop))
            try:
                pixels = _as_mode(part, mode)
            except (AssertionError, ValueError) as error:
                raise _unconvertible(image, error) from error
            pixels = pixels.reshape(*pixels.shape[:2], -1)
            alpha = None
            if self._key is not None:
                alpha = _alpha_by_key(pixels, self._key)
            elif has_alpha:
                pixels, alpha = pixels[:, :, :-1], pixels[:, :, -1]
            if self._covered is not None:
                alpha = clear_outside(alpha, self._covered, rows, width)
            yield Strip(rows, pixels, alpha)


def _lost_bits(data: bytes, image: Image.Image) -> tuple[str, ...]:
    bits = stored_bits(data, image)
    return (f"bit_depth: 8 of {bits} bits are kept of this {image.format}",) if bits > 8 else ()


def _as_mode(part: Image.Image, mode: str) -> NDArray[np.uint8]:
    """Return the pixels of a part of an image in a mode of 8 bits per channel."""
    return np.asarray(part if part.mode == mode else part.convert(mode))


def _transparent_level(data: bytes, image: Image.Image) -> NDArray[np.uint8] | None:
    """Return the grey level or RGB colour that is transparent, as decoded; None without one."""
    key = image.info.get("transparency")
    if key is None or image.mode not in ("1", "L", "RGB"):
        return None
    levels = np.atleast_1d(np.asarray(key))
    if image.format == "PNG":
        # The key is stored in 16 bits; the lowest count, as many as a sample has. Pillow stretches
        # samples of 2 and 4 bits to 8, but not the key.
        bits = 8 if image.mode == "1" else data[_PNG_DEPTH_OFFSET]
        top = 2**bits - 1
        levels = (levels & top) * (255 // top)
    return levels.astype(np.uint8)


def _alpha_by_key(pixels: Pixels, key: NDArray[np.uint8]) -> Pixels:
    return np.where((pixels == key).all(axis=2), 0, 255).astype(np.uint8)


def _has_transparency(image: Image.Image) -> bool:
    try:
        return image.has_transparency_data
    except (AssertionError, ValueError) as error:
        raise _unconvertible(image, error) from error


def _unconvertible(image: Image.Image, error: Exception) -> CorruptImage:
    reason = str(error) or "no palette"
    return CorruptImage(f"{image.mode} pixels that cannot be converted to RGB: {reason}")
