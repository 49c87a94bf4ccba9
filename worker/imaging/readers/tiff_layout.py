"""How the samples of a TIFF are to be understood, and whether they can be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.errors import CorruptImage, UnsupportedImage
from worker.imaging.masks import Size
from worker.imaging.readers.tiff_tags import Directory, Tag
from worker.imaging.readers.tiff_values import (
    ASSOCIATED,
    BLACK_IS_ZERO,
    COMPRESSIONS,
    FLOAT,
    JPEG,
    LAB,
    LZMA,
    NONE,
    OLD_JPEG,
    PALETTE,
    PHOTOMETRICS,
    RGB,
    SEPARATED,
    UINT,
    UNASSOCIATED,
    UNDEFINED,
    UNSTATED,
    WHITE_IS_ZERO,
    YCBCR,
    ZSTD,
    compression_name,
    sample_name,
)

_COLOURS: Final = {
    WHITE_IS_ZERO: 1,
    BLACK_IS_ZERO: 1,
    RGB: 3,
    PALETTE: 1,
    SEPARATED: 4,
    YCBCR: 3,
    LAB: 3,
}
"""Samples that are colour, by photometric interpretation; further samples are extra samples."""

_CMYK_INKS: Final = 1

_BITS: Final[Mapping[int, Mapping[int, tuple[int, ...]]]] = {
    WHITE_IS_ZERO: {UINT: (1, 2, 4, 8, 16, 32), FLOAT: (16, 32)},
    BLACK_IS_ZERO: {UINT: (1, 2, 4, 8, 16, 32), FLOAT: (16, 32)},
    RGB: {UINT: (8, 16, 32), FLOAT: (16, 32)},
    PALETTE: {UINT: (1, 2, 4, 8, 16)},
    SEPARATED: {UINT: (8, 16)},
    YCBCR: {UINT: (8,)},
    LAB: {UINT: (8, 16)},
}
"""Bits per sample that are read, by photometric interpretation and sample format."""
_PILLOW_PLANES: Final = {(RGB, 0, False), (RGB, 1, True), (SEPARATED, 0, False)}
"""What Pillow reads correctly from separate planes: photometric, extra samples, with alpha."""
_PILLOW_KINDS: Final = _PILLOW_PLANES | {
    (RGB, 1, False),
    (WHITE_IS_ZERO, 0, False),
    (BLACK_IS_ZERO, 0, False),
    (BLACK_IS_ZERO, 1, True),
    (PALETTE, 0, False),
}
"""What Pillow reads correctly where all samples of a pixel are together."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The samples of a TIFF's pixels."""

    size: Size
    samples: int
    """Samples per pixel, extra samples included."""
    bits: int
    """Bits per sample."""
    sample_format: int
    photometric: int
    compression: int
    is_planar: bool
    """Whether each sample has a plane of its own."""
    is_tiled: bool
    colours: int
    """Samples that are colour; they come first."""
    alpha: int | None
    """Index of the sample that is alpha; None without one."""
    is_premultiplied: bool
    """Whether the colours are multiplied by alpha (associated alpha)."""
    subsampling: tuple[int, int]
    """Of the chroma of YCbCr, horizontally and vertically."""

    @property
    def needs_pillow(self) -> bool:
        """Whether libvips cannot read the pixels but Pillow can, without misreading them."""
        if self.compression not in (ZSTD, LZMA):
            return False
        # Pillow takes the high byte of 16-bit colours.
        bits = (8, 16) if self.colours > 1 else (8,)
        kinds = _PILLOW_PLANES if self.is_planar else _PILLOW_KINDS
        return (
            self.bits in bits
            and self.sample_format == UINT
            and not self.is_premultiplied
            and (self.photometric, self.samples - self.colours, self.alpha is not None) in kinds
        )

    @property
    def has_planes(self) -> bool:
        """Whether each of several samples has a plane of its own."""
        return self.is_planar and self.samples > 1

    @property
    def is_plain_ycbcr(self) -> bool:
        """Whether libvips returns YCbCr as stored; JPEG and subsampled YCbCr become RGB in it."""
        is_plain = self.compression not in (JPEG, OLD_JPEG) and self.subsampling == (1, 1)
        return self.photometric == YCBCR and is_plain

    @property
    def ignored(self) -> int:
        """The number of extra samples that are neither colour nor alpha."""
        return self.samples - self.colours - (self.alpha is not None)

    def unsupported(self, reason: str) -> UnsupportedImage:
        """Return the error for pixels that are not read."""
        return UnsupportedImage(
            f"expected a TIFF that can be read, found {self.describe()}: {reason}; "
            "store it as grey or RGB of 8 or 16 bits"
        )

    def describe(self) -> str:
        """Return the layout in words, for an error message."""
        photometric = PHOTOMETRICS.get(self.photometric, f"photometric {self.photometric}")
        kind = sample_name(self.sample_format, self.bits)
        planes = ", separate planes" if self.is_planar and self.samples > 1 else ""
        tiles = ", tiles" if self.is_tiled else ""
        alpha = ", premultiplied" if self.is_premultiplied else ""
        return (
            f"{photometric}, {self.samples} sample{'s' * (self.samples > 1)} of {kind} a pixel, "
            f"compression {compression_name(self.compression)}{planes}{tiles}{alpha}"
        )


def read_layout(tags: Directory) -> Layout:
    """Return the layout of the pixels that a directory describes.

    Raise `CorruptImage` if a required tag is missing, `UnsupportedImage` for pixels that are not
    read, with a sentence that names them.
    """
    required = (Tag.WIDTH, Tag.HEIGHT)
    missing = [tag.name for tag in required if not tags.numbers(tag)]
    if missing:
        raise CorruptImage(f"expected a TIFF directory with all tags, found none of {missing}")
    samples = tags.number(Tag.SAMPLES, 1)
    photometric = tags.number(Tag.PHOTOMETRIC, UNSTATED)
    colours = _COLOURS.get(photometric, samples)
    if samples < max(colours, 1):
        name = PHOTOMETRICS.get(photometric, photometric)
        raise CorruptImage(f"expected {name} of {colours} samples a pixel or more, found {samples}")
    depths = set(tags.numbers(Tag.BITS)) or {1}
    formats = set(tags.numbers(Tag.SAMPLE_FORMAT)) or {UINT}
    extra = [int(kind) for kind in tags.numbers(Tag.EXTRA_SAMPLES)][: max(samples - colours, 0)]
    alpha, is_premultiplied = _alpha(photometric, samples - colours, extra)
    across, down, *_ = (*tags.numbers(Tag.YCBCR_SUBSAMPLING), 2, 2)[:2]
    layout = Layout(
        size=(tags.number(Tag.WIDTH, 0), tags.number(Tag.HEIGHT, 0)),
        samples=samples,
        bits=int(max(depths)),
        sample_format=int(max(formats)),
        photometric=photometric,
        compression=tags.number(Tag.COMPRESSION, NONE),
        is_planar=tags.number(Tag.PLANES, 1) == 2,
        is_tiled=bool(tags.numbers(Tag.TILE_WIDTH)),
        colours=colours,
        alpha=None if alpha is None else colours + alpha,
        is_premultiplied=is_premultiplied,
        subsampling=(int(across), int(down)),
    )
    reason = _refusal(layout, tags, depths, formats)
    if reason is not None:
        raise layout.unsupported(reason)
    return layout


def _alpha(photometric: int, count: int, extra: Sequence[int]) -> tuple[int | None, bool]:
    """Return the index among `count` extra samples of the alpha, and whether it is associated."""
    for index, kind in enumerate(extra):
        if kind in (ASSOCIATED, UNASSOCIATED):
            return index, kind == ASSOCIATED
    # Many programs write one without saying so.
    if not extra and count == 1 and photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB):
        return 0, False
    return None, False


def _refusal(
    layout: Layout, tags: Directory, depths: set[float], formats: set[float]
) -> str | None:
    """Return why these pixels are not read; None if they are."""
    if layout.photometric not in _COLOURS:
        return "this photometric interpretation is not read"
    if len(depths) > 1 or len(formats) > 1:
        return "the samples of a pixel differ in bits or format"
    kind = UINT if layout.sample_format == UNDEFINED else layout.sample_format
    if layout.bits not in _BITS[layout.photometric].get(kind, ()):
        return "samples of this kind are not read"
    if layout.bits < 8 and layout.samples > 1:
        return f"several samples of {layout.bits} bits are not read"
    if layout.photometric == SEPARATED and tags.number(Tag.INK_SET, _CMYK_INKS) != _CMYK_INKS:
        return "the inks are not cyan, magenta, yellow and black"
    if layout.needs_pillow:
        return None
    if layout.compression not in COMPRESSIONS:
        return "this compression is not read"
    if layout.has_planes and layout.photometric == PALETTE:
        return "separate planes of a palette are not read"
    if layout.photometric == YCBCR and layout.samples > 3:
        return "YCbCr with extra samples is not read"
    if layout.photometric == YCBCR and layout.has_planes and not layout.is_plain_ycbcr:
        return "separate planes of subsampled YCbCr are not read"
    if layout.photometric == LAB and layout.is_premultiplied:
        return "premultiplied L*a*b* is not read"
    return None
