"""TIFF, read by libvips: Pillow keeps 8 bits of 16 in colour, and misreads planes and negatives."""

import io
import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image

from worker.imaging import libvips
from worker.imaging.bombs import tiff
from worker.imaging.masks import Pixels, Size, to_depth
from worker.imaging.png import Resolution
from worker.imaging.readers import tiff_colour, tiff_layout, tiff_pixels, tiff_values
from worker.imaging.readers.pillow import PillowImage
from worker.imaging.readers.stored import Facts, Space, Strip
from worker.imaging.readers.tiff_layout import Layout
from worker.imaging.readers.tiff_pages import find_picture
from worker.imaging.readers.tiff_tags import Form, Tag
from worker.imaging.readers.tiff_writing import with_one_directory

_CM_PER_INCH: Final = 2.54
_INCHES, _CENTIMETRES = 2, 3
_XMP_ORIENTATION: Final = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


class TiffImage:
    """A `StoredImage` of the first picture of a TIFF."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        """Read the header; raise `CorruptImage`, `UnsupportedImage` or `DecompressionBomb`."""
        self._data = data
        picture = find_picture(data)
        self._tags = tags = picture.tags
        self._is_alone = picture.is_first and not tags.next
        tile = (tags.number(Tag.TILE_WIDTH, 0), tags.number(Tag.TILE_HEIGHT, 0))
        tiff.check_tile(tile, max_pixels)
        self._layout = layout = tiff_layout.read_layout(tags)
        if layout.needs_pillow and tags.form == Form(order=">", bigtiff=True):
            raise layout.unsupported("this compression is not read from a big-endian BigTIFF")
        self.facts = Facts(
            format="TIFF",
            mode=_mode(layout),
            size=layout.size,
            has_transparency=layout.alpha is not None,
            bits=16 if _is_deep(layout) else 8,
            pixel_bytes=_pixel_bytes(layout),
            metadata_bytes=tags.value_bytes,
            copied_bytes=0 if self._is_alone and not _is_rewritten(layout) else len(data),
            warnings=(*picture.warnings, *_warnings(layout)),
        )

    def read(self, min_size: Size | None) -> tuple[Size, Iterator[Strip]]:  # noqa: ARG002 - a TIFF has one size
        """Open the pixels; raise `pyvips.Error` for a broken file, then or in a strip."""
        data, layout = self._data, self._layout
        if not self._is_alone and not _is_rewritten(layout):
            # The decoders take the first directory, and libvips looks at all others before.
            data = with_one_directory(data, self._tags)
        if layout.needs_pillow:
            image = Image.open(io.BytesIO(data), formats=["TIFF"])
            return PillowImage(data, image).read(None)
        if layout.has_planes:
            loaded = tiff_pixels.open_planes(data, self._tags, layout)
        elif _is_rewritten(layout):
            loaded = tiff_pixels.open_as_stored(data, self._tags, layout)
        else:
            loaded = libvips.open_tiff(data)
        return (loaded.width, loaded.height), self._strips(loaded)

    def space(self) -> Space:
        """Return the colour space of the strips; palettes, YCbCr and Lab become RGB."""
        match self._layout.photometric:
            case tiff_values.WHITE_IS_ZERO | tiff_values.BLACK_IS_ZERO:
                return "grey"
            case tiff_values.SEPARATED:
                return "cmyk"
        return "rgb"

    def icc_profile(self, warnings: list[str]) -> object:
        """Return the embedded profile; Lab needs none, its colours are absolute."""
        if self._layout.photometric == tiff_values.LAB:
            return None
        profile = self._tags.blob(Tag.ICC_PROFILE)
        if not profile:
            warnings += tiff_colour.ignored_colours(self._data, self._tags, self._layout)
        return profile

    def orientation(self, warnings: list[str]) -> int:  # noqa: ARG002 - a tag is always readable
        """Return the orientation from its tag or from XMP."""
        found = self._tags.numbers(Tag.ORIENTATION)
        if not found and (match := _XMP_ORIENTATION.search(self._tags.blob(Tag.XMP) or b"")):
            return int(match[1])
        return int(found[0]) if found and found[0] in range(1, 9) else 1

    def dpi(self) -> Resolution | None:
        """Return the resolution, if its unit is not unknown."""
        unit = self._tags.number(Tag.RESOLUTION_UNIT, _INCHES)
        x_and_y = (self._tags.numbers(tag) for tag in (Tag.X_RESOLUTION, Tag.Y_RESOLUTION))
        sides = [numbers[0] for numbers in x_and_y if numbers]
        if unit not in (_INCHES, _CENTIMETRES) or len(sides) < 2:
            return None
        x, y = (side * (_CM_PER_INCH if unit == _CENTIMETRES else 1) for side in sides)
        return (x, y) if 0 < x < 1e5 and 0 < y < 1e5 else None

    def close(self) -> None:
        """Do nothing: libvips releases the file with its image."""

    def _strips(self, loaded: pyvips.Image) -> Iterator[Strip]:
        layout = self._layout
        # libvips looks palettes up: they have one band if they are grey, else three.
        is_palette = layout.photometric == tiff_values.PALETTE
        colours = loaded.bands - layout.samples + 1 if is_palette else layout.colours
        for rows, pixels in libvips.read_strips(loaded):
            part, alpha = self._converted(pixels[:, :, :colours]), None
            if layout.alpha is not None:
                # Of separate planes, those of other extra samples were left out.
                extra = 0 if layout.has_planes else layout.alpha - layout.colours
                alpha = pixels[:, :, colours + extra]
                if layout.is_premultiplied:
                    part = tiff_pixels.divide_by_alpha(part, alpha)
                # Lab becomes RGB of 16 bits.
                alpha = to_depth(
                    _to_levels(alpha), np.uint16 if self.facts.bits == 16 else np.uint8
                )
            if is_palette and colours == 1:
                part = np.repeat(part, 3, axis=2)
            yield Strip(rows, _to_levels(part), alpha)

    def _converted(self, colours: NDArray[Any]) -> NDArray[Any]:
        """Return colours that libvips leaves as stored in the space that `space` promises."""
        layout = self._layout
        if (
            layout.sample_format == tiff_values.FLOAT
            and layout.photometric == tiff_values.WHITE_IS_ZERO
        ):
            return np.float32(1) - colours  # libvips inverts integers alone.
        if layout.is_plain_ycbcr:
            return tiff_colour.ycbcr_to_rgb(colours, self._tags.numbers(Tag.YCBCR_COEFFICIENTS))
        return tiff_colour.lab_to_rgb(colours) if layout.photometric == tiff_values.LAB else colours


def _is_rewritten(layout: Layout) -> bool:
    """Return whether `tiff_pixels` reads the picture, with directories of its own."""
    if layout.needs_pillow:
        return False
    is_lab = layout.photometric == tiff_values.LAB
    return layout.has_planes or layout.is_premultiplied or is_lab


def _warnings(layout: Layout) -> tuple[str, ...]:
    warnings = []
    if layout.ignored:
        warnings.append(
            f"extra samples ignored: {layout.ignored} of {layout.samples} samples of a pixel are "
            "neither colour nor alpha"
        )
    if layout.sample_format == tiff_values.FLOAT:
        warnings.append("floating point: 0 is read as black and 1 as white, and clipped there")
    if layout.needs_pillow and layout.bits == 16:
        warnings.append(f"bit_depth: 8 of 16 bits are kept of {layout.describe()}")
    return tuple(warnings)


def _to_levels(samples: NDArray[Any]) -> Pixels:
    """Return samples as uint8 or uint16: 32 bits reduced to 16, floating point 0…1 stretched."""
    if samples.dtype == np.uint32:
        return (samples >> 16).astype(np.uint16)
    if samples.dtype == np.float32:
        clipped = np.clip(np.nan_to_num(samples), 0, 1)
        levels: Pixels = (clipped * np.float32(65535) + np.float32(0.5)).astype(np.uint16)
        return levels
    return np.asarray(samples)


def _mode(layout: Layout) -> str:
    """Return Pillow's name of the pixel format, or what Pillow would call it."""
    alpha = "A" if layout.alpha is not None else ""
    match layout.photometric:
        case tiff_values.PALETTE:
            return "P" + alpha
        case tiff_values.SEPARATED:
            return "CMYK"
        case tiff_values.YCBCR:
            return "YCbCr"
        case tiff_values.LAB:
            return "LAB"
        case tiff_values.RGB:
            return "RGB" + alpha
    if alpha or layout.bits in (2, 4, 8):
        return "L" + alpha
    if layout.bits == 1:
        return "1"
    if layout.sample_format == tiff_values.FLOAT:
        return "F"
    return "I;16" if layout.bits == 16 else "I"


def _is_deep(layout: Layout) -> bool:
    """Return whether the strips have 16 bits per channel; Lab has, as it is converted."""
    if layout.needs_pillow:
        return False
    return layout.bits > 8 or layout.photometric == tiff_values.LAB


def _pixel_bytes(layout: Layout) -> int:
    """Return the bytes of a pixel as libvips holds it: palettes looked up, half floats widened."""
    if layout.needs_pillow:
        return 0
    sample = max(layout.bits // 8, 1)
    if layout.sample_format == tiff_values.FLOAT:
        sample = 4
    # Separate planes are held three times: as strips, which may be whole planes, each by itself,
    # and together.
    copies = 3 if layout.has_planes else 1
    return copies * sample * (layout.samples + 2 * (layout.photometric == tiff_values.PALETTE))
