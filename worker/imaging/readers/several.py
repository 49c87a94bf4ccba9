"""How many pictures a file has beside the one that is taken: frames, views, pages.

Thumbnails, gain maps and smaller copies of a picture do not count.
"""

import re
import struct
from collections.abc import Callable
from typing import Any, Final

from PIL import Image

from worker.imaging.bombs.png import chunks, find_chunk

_GIF_HEADER_BYTES, _GIF_FLAGS_OFFSET, _GIF_FRAME_BYTES = 13, 10, 10
_MAX_GIF_FRAMES, _MAX_GIF_BLOCKS = 10_000, 200_000
"""Frames that are counted, and blocks of up to 255 bytes that are looked at, in 0.1 s."""
_MP_ENTRIES: Final = 0xB002
_MP_UNDEFINED: Final = "Undefined"
_MP_PICTURES: Final = ("Baseline", "Multi-Frame")
"""How Pillow's names of the types of pictures begin in an MPO; the others are thumbnails."""
_GAIN_MAP: Final = re.compile(rb"hdrgm:|aux:hdrgainmap|urn:iso:std:iso:ts:21496")
"""What a gain map, a second picture that brightens the first one, states in its metadata."""


def several_pictures(number: int, count: int, *, more: bool = False) -> tuple[str, ...]:
    """Return a warning if a file has `count` pictures, of which `number` is taken, from 1.

    `more` says that there may be others, which were not counted.
    """
    if count < 2:
        return ()
    total = f"at least {count:,}" if more else f"{count:,}"
    return (f"several pictures: number {number:,} of {total} is taken",)


def other_pictures(data: bytes, image: Image.Image) -> tuple[str, ...]:
    """Return a warning if a file that Pillow has opened has other pictures than the one taken."""
    count = _COUNTS.get(str(image.format))
    return () if count is None else count(data, image)


def _count_png(data: bytes, _: Image.Image) -> tuple[str, ...]:
    control = find_chunk(data, b"acTL")
    if control is None or len(control) < 4:
        return ()
    (frames,) = struct.unpack_from(">I", control)
    # Before the pixels: the still picture is the first frame. Else it stands beside them.
    kinds = (kind for kind, _, _ in chunks(data) if kind in (b"fcTL", b"IDAT"))
    is_frame = next(kinds, None) == b"fcTL"
    return several_pictures(1, frames + (not is_frame))


def _count_gif(data: bytes, _: Image.Image) -> tuple[str, ...]:
    position, frames, blocks = _GIF_HEADER_BYTES + _table_bytes(data, _GIF_FLAGS_OFFSET), 0, 0
    while position < len(data) and frames < _MAX_GIF_FRAMES and blocks < _MAX_GIF_BLOCKS:
        kind = data[position]
        blocks += 1
        if kind == ord(";"):
            break
        if kind == ord(","):
            frames += 1
            position += _GIF_FRAME_BYTES + _table_bytes(data, position + _GIF_FRAME_BYTES - 1) + 1
        elif kind == ord("!"):
            position += 2
        else:
            position += 1
            continue
        while position < len(data) and data[position] and blocks < _MAX_GIF_BLOCKS:
            position += 1 + data[position]
            blocks += 1
        position += 1
    return several_pictures(1, frames, more=frames == _MAX_GIF_FRAMES or blocks >= _MAX_GIF_BLOCKS)


def _table_bytes(data: bytes, flags: int) -> int:
    """Return the bytes of the colour table of a GIF whose flags are at an offset."""
    return 6 << (data[flags] & 7) if flags < len(data) and data[flags] & 128 else 0


def _count_mpo(data: bytes, image: Any) -> tuple[str, ...]:
    types = [entry["Attribute"]["MPType"] for entry in image.mpinfo.get(_MP_ENTRIES, ())]
    undefined = types.count(_MP_UNDEFINED)
    if undefined and _GAIN_MAP.search(data):
        undefined -= 1
    return several_pictures(1, undefined + sum(kind.startswith(_MP_PICTURES) for kind in types))


def _count_frames(_: bytes, image: Any) -> tuple[str, ...]:
    """Count frames of an animation, or top-level pictures of which the primary one is taken."""
    return several_pictures(image.tell() + 1, image.n_frames)


_COUNTS: Final[dict[str, Callable[[bytes, Image.Image], tuple[str, ...]]]] = {
    "PNG": _count_png,
    "GIF": _count_gif,
    "MPO": _count_mpo,
    "WEBP": _count_frames,
    "AVIF": _count_frames,
    "HEIF": _count_frames,
}
"""By Pillow's name of the format."""
