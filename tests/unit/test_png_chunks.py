"""Broken chunks of a PNG that libpng ignores are ignored, with a warning."""

import struct
from typing import Final

import numpy as np
import pytest
import pyvips

from tests.support.hostile.png import GREY, PALETTE, RGB, RGBA, SIGNATURE, chunk, png
from worker.errors import CorruptImage
from worker.imaging.decode import Picture, open_image

GREY_ALPHA: Final = 4
COLOURS: Final = chunk(b"PLTE", bytes(range(12)))
CHANNELS: Final = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
KINDS: Final = (
    *((GREY, depth) for depth in (1, 2, 4, 8, 16)),
    *((PALETTE, depth) for depth in (2, 4, 8)),
    *((kind, depth) for kind in (RGB, GREY_ALPHA, RGBA) for depth in (8, 16)),
)


def written(colour: int, depth: int, *parts: bytes) -> bytes:
    """Return a PNG of 4×3 pixels; a palette has four colours."""
    width = -(-4 * depth * CHANNELS[colour] // 8)
    row = bytes((0, *range(width)))
    palette = (COLOURS,) if colour == PALETTE else ()
    return png(4, 3, *palette, *parts, depth=depth, colour=colour, rows=3 * row)


def decoded(data: bytes) -> Picture:
    """Return the picture in 16 bits; that in 8 has the same transparency and warnings."""
    deep, shallow = (
        open_image(data, max_pixels=100).decode(depth=depth) for depth in (np.uint16, np.uint8)
    )
    assert shallow.warnings == deep.warnings
    assert (shallow.alpha is None) == (deep.alpha is None)
    return deep


def with_wrong_checksum(part: bytes) -> bytes:
    return part[:-1] + bytes((part[-1] ^ 1,))


@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_transparency_of_every_length_counts_where_libpng_takes_it(colour: int, depth: int) -> None:
    opaque = pyvips.Image.pngload_buffer(written(colour, depth)).bands
    for length in (*range(10), 255, 256, 257, 300):
        data = written(colour, depth, chunk(b"tRNS", bytes(length)))
        is_taken = pyvips.Image.pngload_buffer(data).bands > opaque
        picture = decoded(data)
        has_alpha = colour in (GREY_ALPHA, RGBA) or is_taken
        assert (picture.alpha is not None) == has_alpha, length
        named = [text.partition(":")[0] for text in picture.warnings]
        assert named == ([] if has_alpha else ["tRNS ignored"]), length


@pytest.mark.parametrize("depth", [8, 16])
def test_the_first_transparency_that_can_be_used_counts(depth: int) -> None:
    key = chunk(b"tRNS", bytes(6))
    for parts in (
        (chunk(b"tRNS", bytes(2)), key),
        (with_wrong_checksum(key), key),
        (key, chunk(b"tRNS", b"\1" * 6)),
    ):
        data = png(4, 3, *parts, depth=depth, colour=RGB)
        picture = decoded(data)
        assert picture.alpha is not None
        assert not picture.alpha.any()
        assert [text.partition(":")[0] for text in picture.warnings] == ["tRNS ignored"]


def test_transparency_before_the_palette_or_behind_the_pixels_is_ignored() -> None:
    late = written(GREY, 8)
    end = late.rindex(b"IEND") - 4
    late = late[:end] + chunk(b"tRNS", bytes(2)) + late[end:]
    early = written(PALETTE, 8).replace(COLOURS, chunk(b"tRNS", b"\0") + COLOURS)
    for data in (late, early):
        assert decoded(data).alpha is None


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(
    "kind", ["gAMA", "cHRM", "sRGB", "pHYs", "iCCP", "acTL", "fcTL", "tEXt", "eXIf", "tRNS"]
)
def test_a_broken_chunk_that_is_not_critical_is_ignored(kind: str, depth: int) -> None:
    name = kind.encode()
    plain = decoded(written(RGB, depth))
    sound = struct.pack(">I", 45_455).ljust({"cHRM": 32, "pHYs": 9, "tRNS": 6}.get(kind, 4), b"\0")
    parts = [with_wrong_checksum(chunk(name, sound))]
    if kind not in ("tEXt", "eXIf"):  # An empty one is harmless.
        parts.append(chunk(name, b""))
    for part in parts:
        picture = decoded(written(RGB, depth, part))
        assert np.array_equal(picture.rgb, plain.rgb)
        assert (picture.icc_profile, picture.alpha) == (None, None)
        (warning,) = picture.warnings
        assert (kind if kind != "iCCP" else "colour profile dropped") in warning


@pytest.mark.parametrize("depth", [8, 16])
def test_a_broken_critical_chunk_makes_a_png_corrupt(depth: int) -> None:
    data = written(RGB, depth)
    end = len(SIGNATURE) + 25
    with pytest.raises(CorruptImage):
        decoded(data[: end - 1] + bytes((data[end - 1] ^ 1,)) + data[end:])
    text = written(RGB, depth, chunk(b"tEXt", bytes(500)))
    with pytest.raises(CorruptImage):
        decoded(text[: end + 300])


def test_countless_broken_chunks_are_a_few_warnings() -> None:
    parts = [with_wrong_checksum(chunk(b"a%cAA" % letter, b"")) for letter in range(97, 123)]
    parts += [chunk(b"pHYs", b"")] * 1_000
    assert len(decoded(written(RGB, 8, *parts)).warnings) == 1
