"""Decompression bombs are refused before they are decoded; unusual files are not."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.support.hostile import exif, gif_bmp, heif, jpeg, png, tiff
from tests.support.hostile.originals import SRGB, originals
from worker.errors import CorruptImage, DecompressionBomb, ImageTooLarge
from worker.imaging.bombs.jpeg import check_scans
from worker.imaging.decode import Picture, open_image


def decoded(data: bytes) -> Picture:
    return open_image(data, max_pixels=100_000_000).decode()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (jpeg.scans(10_000, 60), "at most 40 scans of 100,000,000 pixels"),
        (jpeg.scans(16, 61_100), "at most 61,035 scans of 256 pixels"),
        (png.png(9, 9, png.chunk(b"prVt", b"") * 250_000), "at most 250,000 chunks"),
        (png.png(9, 9, png.chunk(b"zTXt", b"a\0\0") * 251), "at most 250 texts and profiles"),
        (gif_bmp.gif(9, 9, b"!\xfe\1a\0" * 100_000), "at most 200,000 blocks"),
        (heif.grid(30, side=1_000, size=64), "at most 200,000,000 pixels together, found 900"),
        (
            gif_bmp.bmp(9, 9, b"\0\2\0\0" * 9_000, compression=1),
            "at most two bytes for each of 81 pixels",
        ),
    ],
)
def test_a_bomb_is_refused_with_the_limit_it_exceeds(data: bytes, sentence: str) -> None:
    with pytest.raises(DecompressionBomb, match=sentence):
        decoded(data)


def test_files_at_the_limits_are_read() -> None:
    assert decoded(jpeg.scans(400, 200)).size == (400, 400)
    assert decoded(png.png(9, 9, png.chunk(b"zTXt", b"a\0\0") * 250)).size == (9, 9)
    comments = b"!\xfe\1a\0" * 60_000
    assert decoded(gif_bmp.gif(1, 1, comments, gif_bmp.frame(1, 1))).size == (1, 1)
    assert decoded(gif_bmp.bmp(9, 9, b"\xff\1\0\0" * 9, compression=1)).size == (9, 9)


def test_scans_after_a_complete_single_pass_scan_do_not_count() -> None:
    two = originals()["restarts.jpg"].removesuffix(b"\xff\xd9")
    check_scans(two + jpeg.segment(0xDA, b"\1\1\0\0\x3f\0") * 50_000, 100_000_000)


def test_a_run_length_coded_picture_larger_than_a_screen_is_refused() -> None:
    with pytest.raises(ImageTooLarge, match="store it as PNG"):
        decoded(gif_bmp.bmp(4_000, 2_501, b"", compression=1))
    assert decoded(gif_bmp.bmp(40, 25, bytes(1_000))).size == (40, 25)


def test_a_side_that_is_too_long_is_refused_however_few_the_pixels() -> None:
    with pytest.raises(ImageTooLarge, match="at most 1,000,000 pixels a side"):
        decoded(png.png(1_000_001, 1, colour=png.GREY))
    assert decoded(png.png(1_000_000, 1, colour=png.GREY)).size == (1_000_000, 1)


@pytest.mark.parametrize("name", ["png", "webp"])
def test_too_many_values_in_exif_are_refused(name: str) -> None:
    files = {file.name: file.data for file in exif.attacks()}
    with pytest.raises(DecompressionBomb, match="at most 16,384 values of tag 282, found 20,000"):
        decoded(files[f"exif/rationals.{name}"])


def test_a_tile_larger_than_the_limit_for_pictures_is_refused() -> None:
    files = {file.name: file.data for file in tiff.attacks()}
    with pytest.raises(DecompressionBomb, match="found 40000×40000"):
        decoded(files["tiff/tile-40000.tif"])


def test_a_grid_of_a_phone_s_tiles_is_read() -> None:
    assert decoded(heif.grid(3, side=64, size=180)).size == (180, 180)


def test_an_avif_with_too_many_bytes_is_refused() -> None:
    data = originals()["photo.avif"] + heif.box(b"free", bytes(64 * 2**20))
    with pytest.raises(DecompressionBomb, match="store it as PNG"):
        decoded(data)


def test_a_profile_of_two_megabytes_is_kept() -> None:
    long = SRGB + np.random.default_rng(1).integers(0, 256, 2**21, np.uint8).tobytes()
    long = struct.pack(">I", len(long)) + long[4:]
    data = png.png(9, 9, png.chunk(b"iCCP", b"a\0\0" + zlib.compress(long)))
    assert decoded(data).icc_profile == long


def test_a_profile_with_an_undecodable_colour_space_is_dropped_with_a_warning() -> None:
    odd = SRGB[:16] + b"R\xc7B " + SRGB[20:]
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "PNG", icc_profile=odd)
    picture = decoded(buffer.getvalue())
    assert picture.icc_profile is None
    assert "colour profile dropped" in picture.warnings[0]


def test_a_palette_image_without_a_palette_is_corrupt() -> None:
    with pytest.raises(CorruptImage, match="no palette"):
        decoded(png.png(9, 9, colour=png.PALETTE))
