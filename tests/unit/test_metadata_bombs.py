"""Metadata that costs more than the pixels is refused or passed over; that of cameras is read."""

import logging
import warnings
import zlib

import pytest
import pyvips

from producer import Options
from tests.support.hostile import ancillary, exif, segments
from tests.support.hostile.exif import directory
from tests.support.hostile.gif_bmp import frame, gif
from tests.support.hostile.jpeg import pieces, segment
from tests.support.hostile.originals import originals
from tests.support.hostile.png import chunk, png
from tests.support.hostile.tiff import BLACK, FROM_END, tiff
from tests.support.memory_costs import cost
from worker.errors import DecompressionBomb
from worker.imaging import pillow_patches
from worker.imaging.decode import Picture, open_image

MIB = 2**20


def decoded(data: bytes) -> Picture:
    return open_image(data, max_pixels=100_000_000).decode()


@pytest.mark.parametrize("marker", [0xE1, 0xE2, 0xED, 0xEF, 0xFE])
def test_segments_of_every_kind_are_bounded_together(marker: int) -> None:
    with pytest.raises(DecompressionBomb, match="JPEG: expected at most 16,777,216 bytes"):
        decoded(segments.flooded(marker, b"", 17 * MIB))
    assert decoded(segments.flooded(marker, b"", MIB)).size == (64, 48)[::-1]


@pytest.mark.parametrize("size", [24, 5_000, segments.FULL])
def test_exif_in_segments_of_any_size_is_bounded(size: int) -> None:
    data = segments.flooded(0xE1, segments.EXIF, MIB + 2 * size, size=size)
    with pytest.raises(DecompressionBomb, match="1,048,576 bytes of EXIF"):
        decoded(data)


def test_what_cameras_store_before_the_pixels_is_read() -> None:
    """A profile of 3 MiB, the raw data of a thermal camera, extended XMP, and one EXIF segment."""
    data = originals()["baseline.jpg"]
    parts = (
        pieces(50, 65_000),
        segment(0xE3, bytes(segments.FULL)) * 41,
        segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(65_000)) * 60,
    )
    whole = data[:2] + b"".join(parts) + data[2:]
    # The EXIF of the original turns it.
    assert decoded(whole).size == (48, 64)


@pytest.mark.parametrize("kind", [b"iTXt", b"prVt", b"iCCP"])
@pytest.mark.parametrize("behind", [False, True])
def test_chunks_of_every_kind_are_bounded_together(kind: bytes, *, behind: bool) -> None:
    part = chunk(kind, b"a\0" + bytes(9 * MIB)) * 2
    data = png(9, 9)[:-12] + part + chunk(b"IEND", b"") if behind else png(9, 9, part)
    with pytest.raises(DecompressionBomb, match="PNG: expected at most 16,777,216 bytes"):
        decoded(data)


def test_texts_neither_cost_memory_nor_take_the_place_of_other_chunks() -> None:
    for file in ancillary.pngs():
        if file.name.startswith(("chunks/tEXt", "chunks/zTXt", "chunks/iTXt", "chunks/ztxt")):
            picture = decoded(file.data)
            assert (picture.alpha, picture.icc_profile, picture.dpi) == (None, None, None)


@pytest.mark.parametrize("kind", ["iTXt", "zTXt", "tEXt"])
def test_the_orientation_in_a_text_is_still_read(kind: str) -> None:
    xmp = b'<x tiff:Orientation="6"/>'
    block = directory((exif.ORIENTATION, exif.SHORT, 1, 6))
    lines = block.hex().encode()
    raw = b"\nexif\n%8d\n%s\n" % (len(block), lines)
    texts = {
        "iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        "zTXt": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw)),
        "tEXt": chunk(b"tEXt", b"Raw profile type exif\0" + raw),
    }
    assert decoded(png(9, 4, texts[kind])).size == (4, 9)


@pytest.mark.parametrize("name", ["EXIF", "XMP ", "ICCP", "junk"])
def test_chunks_of_a_webp_are_bounded(name: str) -> None:
    with pytest.raises(DecompressionBomb, match="WebP: expected at most"):
        decoded(ancillary.webp((name.encode(), bytes(17 * MIB))))


def test_a_webp_that_is_long_for_its_pixels_is_refused() -> None:
    data = ancillary.webp(*((b"ANMF", bytes(10 * MIB)) for _ in range(5)))
    with pytest.raises(DecompressionBomb, match="50,331,648 bytes for a picture of this size"):
        decoded(data)


def test_comments_of_a_gif_are_bounded() -> None:
    comment = b"!\xfe" + (b"\xff" + b"a" * 255) * 68_000 + b"\0"
    with pytest.raises(DecompressionBomb, match="GIF: expected at most 16,777,216 bytes"):
        decoded(gif(1, 1, comment, frame(1, 1)))


def test_large_tags_of_a_tiff_are_part_of_the_memory_estimate() -> None:
    size = 60_000_000
    data = tiff(BLACK, (37724, 7, size, FROM_END + len(BLACK)), tail=bytes(size))
    image = open_image(data, max_pixels=1_000)
    assert size <= image.header.metadata_bytes < 2 * size
    # libtiff's own limit of 50 MB does not apply.
    assert image.decode().size == (16, 16)
    plain = Options(enabled=False)
    more = cost(plain, format="TIFF", metadata_bytes=size) - cost(plain, format="TIFF")
    assert more > 0


def test_tags_of_a_tiff_that_share_their_values_are_refused() -> None:
    tags = ((40_000 + number, 7, 100_000, FROM_END) for number in range(50))
    with pytest.raises(DecompressionBomb, match="twice the file"):
        decoded(tiff(BLACK, *tags, tail=bytes(100_000)))


def test_broken_entries_and_chunks_are_not_logged(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    with warnings.catch_warnings():
        warnings.resetwarnings()
        pillow_patches.install()
        for file in ancillary.exifs():
            if file.name.endswith(("overlap.png", "types.webp")):
                decoded(file.data)
    assert not list(recwarn)
    assert logging.getLogger("pyvips").level == logging.ERROR
    with caplog.at_level(logging.INFO):
        broken = png(9, 9, chunk(b"sPLT", b"x") * 500, depth=16)
        pyvips.Image.pngload_buffer(broken).avg()
    assert not caplog.records
