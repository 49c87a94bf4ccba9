"""What every reader gives: facts about an image as stored, and its pixels by strips."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from worker.imaging.masks import Pixels, Size
from worker.imaging.png import Resolution

Space = Literal["grey", "rgb", "cmyk"]
"""What the channels of `Strip.colours` mean: 1, 3 or 4 of them. 0 is black, or no ink in CMYK."""


class Strip(NamedTuple):
    """Some rows of an image, as stored: not turned upright, and not converted to RGB."""

    rows: slice
    colours: Pixels
    """(rows, W, channels), straight."""
    alpha: Pixels | None
    """(rows, W); the maximum is opaque."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of an image before its pixels are decoded."""

    format: str
    mode: str
    """Pillow's name of the pixel format as stored."""
    size: Size
    """In pixels, as stored."""
    has_transparency: bool
    bits: Literal[8, 16] = 8
    """Bits per channel of the strips, whatever the depth that is asked for."""
    pixel_bytes: int = 0
    """Bytes of a pixel as a decoder of 16 bits or of TIFF holds it; 0 for an image that Pillow
    reads."""
    decoded_pixels: int = 0
    """Pixels of the largest picture that is decoded, if that may have more than `size`."""
    metadata_bytes: int = 0
    """Bytes of metadata of which the decoder makes copies."""
    copied_bytes: int = 0
    """Bytes of the file that are copied before it is decoded."""
    warnings: tuple[str, ...] = field(default=())


class StoredImage(Protocol):
    """An image whose header is read and whose pixels are still encoded."""

    @property
    def facts(self) -> Facts:
        """What the header says."""

    def read(self, min_size: Size | None) -> tuple[Size, Iterator[Strip]]:
        """Return the size to decode at, and the strips in order; call once.

        With `min_size`, an image whose format allows it may be decoded smaller, as long as it stays
        at least that wide and high. The methods below may be called after this one only.
        """

    def space(self) -> Space:
        """Return the colour space of the strips."""

    def icc_profile(self, warnings: list[str]) -> object:
        """Return the embedded profile, unchecked: bytes in a sound file; None without one.

        Add a sentence if it is lost, or if the file states its colours in a way that is not read.
        """

    def orientation(self, warnings: list[str]) -> int:
        """Return the EXIF orientation, 1 to 8; add a sentence if it cannot be read."""

    def dpi(self) -> Resolution | None:
        """Return the pixels per inch, None if unknown."""

    def close(self) -> None:
        """Release the pixels."""
