"""The samples of a TIFF by libvips, where its own directory would make libvips misread them.

libvips 8.18 reads separate planes wrongly if it has to convert them (grey, half precision), and not
at all in tiles. It divides by associated alpha itself, but truncates, and only where it expects it.
It refuses Lab of 8 bits. So it is given directories that name each plane as a grey picture, an
alpha that is not associated, and Lab as RGB.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyvips
from numpy.typing import NDArray

from worker.errors import CorruptImage
from worker.imaging import libvips
from worker.imaging.readers.tiff_layout import Layout
from worker.imaging.readers.tiff_tags import SHORT, Directory, Entry, Tag
from worker.imaging.readers.tiff_values import (
    ASSOCIATED,
    BLACK_IS_ZERO,
    LAB,
    RGB,
    UNASSOCIATED,
    WHITE_IS_ZERO,
)
from worker.imaging.readers.tiff_writing import with_directories

_OF_A_PLANE: Final = (
    *(Tag.WIDTH, Tag.HEIGHT, Tag.COMPRESSION, Tag.FILL_ORDER, Tag.ROWS_PER_STRIP, Tag.PREDICTOR),
    *(Tag.TILE_WIDTH, Tag.TILE_HEIGHT, Tag.JPEG_TABLES),
)
"""Tags that hold for each plane as for all of them together."""
_PLACES: Final = (Tag.STRIP_OFFSETS, Tag.STRIP_LENGTHS, Tag.TILE_OFFSETS, Tag.TILE_LENGTHS)
"""Tags that list the strips or tiles of one plane after another."""


def open_planes(data: bytes, tags: Directory, layout: Layout) -> pyvips.Image:
    """Open separate planes as bands: the colours, then the alpha."""
    wanted = list(range(layout.colours)) + [layout.alpha] * (layout.alpha is not None)
    pages = [_plane(tags, layout, plane or 0) for plane in wanted]
    rewritten = with_directories(data, tags.form, pages)
    bands = [libvips.open_tiff(rewritten, page) for page in range(len(pages))]
    return bands[0].bandjoin(bands[1:])


def open_as_stored(data: bytes, tags: Directory, layout: Layout) -> pyvips.Image:
    """Open pixels without a division by alpha, and Lab as it is stored."""
    page = dict(tags.entries)
    if layout.photometric == LAB:
        page[Tag.PHOTOMETRIC] = _shorts(tags, [RGB])
    if layout.is_premultiplied:
        kinds = (int(kind) for kind in tags.numbers(Tag.EXTRA_SAMPLES))
        straight = [UNASSOCIATED if kind == ASSOCIATED else kind for kind in kinds]
        page[Tag.EXTRA_SAMPLES] = _shorts(tags, straight)
    return libvips.open_tiff(with_directories(data, tags.form, [page]))


def _plane(tags: Directory, layout: Layout, plane: int) -> dict[int, Entry]:
    """Return a directory in which one plane is a grey picture."""
    is_negative = plane == 0 and layout.photometric == WHITE_IS_ZERO
    entries: dict[int, Entry] = {
        tag: tags.entries[tag] for tag in _OF_A_PLANE if tag in tags.entries
    }
    entries[Tag.PHOTOMETRIC] = _shorts(tags, [WHITE_IS_ZERO if is_negative else BLACK_IS_ZERO])
    entries[Tag.SAMPLES] = _shorts(tags, [1])
    entries[Tag.BITS] = _shorts(tags, [layout.bits])
    entries[Tag.SAMPLE_FORMAT] = _shorts(tags, [layout.sample_format])
    for tag in _PLACES:
        if tag in tags.entries:
            kind, values = tags.entries[tag]
            length, rest = divmod(len(values), layout.samples)
            if rest:
                raise CorruptImage(
                    f"expected strips or tiles for each of {layout.samples} planes, found "
                    f"{len(values)} bytes of tag {tag}"
                )
            entries[tag] = Entry(kind, values[plane * length : (plane + 1) * length])
    return entries


def _shorts(tags: Directory, values: Sequence[int]) -> Entry:
    return Entry(SHORT, struct.pack(f"{tags.form.order}{len(values)}H", *values))


def divide_by_alpha(colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Return premultiplied colours (H, W, channels) as straight ones; black where alpha is 0."""
    divisor = alpha[:, :, np.newaxis]
    if colours.dtype.kind == "f":
        positive = divisor > 0
        return np.where(positive, colours / np.where(positive, divisor, 1), 0)
    top = np.iinfo(colours.dtype).max
    # The product of two samples of 16 bits, and half of one more, have room in 32.
    wide = np.uint64 if colours.dtype == np.uint32 else np.uint32
    whole = np.maximum(divisor, 1).astype(wide)
    straight = (colours * wide(top) + whole // 2) // whole
    return np.where(divisor > 0, np.minimum(straight, top), 0).astype(colours.dtype)
