"""PNG of 16 bits per channel, whose pixels libvips reads: Pillow keeps 8 of them in colour."""

from collections.abc import Iterator
from typing import Final

import pyvips
from PIL import Image

from worker.imaging import libvips
from worker.imaging.bombs.png import find_chunk, with_pixels_only
from worker.imaging.colour.embedded import embedded_profile
from worker.imaging.masks import Size
from worker.imaging.orientation import read_orientation, resolution
from worker.imaging.pillow_patches import ignored_chunks
from worker.imaging.png import Resolution
from worker.imaging.readers.several import other_pictures
from worker.imaging.readers.stored import Facts, Space, Strip

_DEPTH_OFFSET: Final = 24
_COLOUR_TYPE_OFFSET: Final = 25
_WITH_ALPHA: Final = (4, 6)
_GREY: Final = (0, 4)


def has_sixteen_bits(data: bytes) -> bool:
    """Return whether a PNG says that it has 16 bits per channel."""
    return len(data) > _COLOUR_TYPE_OFFSET and data[_DEPTH_OFFSET] == 16


class Png16Image:
    """A `StoredImage` of a PNG of 16 bits per channel.

    A colour key gives alpha 0 exactly where all 16 bits of a pixel equal it.
    """

    def __init__(self, data: bytes, image: Image.Image) -> None:
        """Take the file, and the same as Pillow has opened it."""
        self._data, self._image = data, image
        kind = data[_COLOUR_TYPE_OFFSET]
        self._channels = 1 if kind in _GREY else 3
        self._has_key = "transparency" in image.info
        has_alpha = kind in _WITH_ALPHA or self._has_key
        ignored = ignored_chunks(image)
        self.facts = Facts(
            format="PNG",
            mode=image.mode,
            size=image.size,
            has_transparency=has_alpha,
            bits=16,
            pixel_bytes=2 * (self._channels + has_alpha),
            copied_bytes=len(data) if ignored else 0,
            warnings=(*other_pictures(data, image), *ignored),
        )

    def read(self, min_size: Size | None) -> tuple[Size, Iterator[Strip]]:  # noqa: ARG002 - a PNG has one size
        """Open the pixels; raise `pyvips.Error` for a broken file, then or in a strip."""
        data = self._data
        if self.facts.copied_bytes:
            data = with_pixels_only(data, 2 * self._channels if self._has_key else None)
        loaded = pyvips.Image.pngload_buffer(data, fail_on="error", access="sequential")
        return (loaded.width, loaded.height), self._strips(loaded)

    def space(self) -> Space:
        """Return grey or RGB."""
        return "grey" if self._channels == 1 else "rgb"

    def icc_profile(self, warnings: list[str]) -> object:
        """Return the embedded profile."""
        return embedded_profile(self._data, self._image, warnings)

    def orientation(self, warnings: list[str]) -> int:
        """Return the orientation from EXIF or XMP."""
        # Otherwise Pillow decodes all pixels to look for EXIF behind them.
        self._image.info.setdefault("exif", find_chunk(self._data, b"eXIf") or b"")
        return read_orientation(self._image, warnings)

    def dpi(self) -> Resolution | None:
        """Return the resolution from `pHYs` or EXIF."""
        return resolution(self._image)

    def close(self) -> None:
        """Release the file that Pillow holds."""
        self._image.close()

    def _strips(self, loaded: pyvips.Image) -> Iterator[Strip]:
        for rows, pixels in libvips.read_strips(loaded):
            alpha = pixels[:, :, self._channels] if self.facts.has_transparency else None
            yield Strip(rows, pixels[:, :, : self._channels], alpha)
