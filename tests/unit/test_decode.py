"""Every format and colour mode is decoded to upright, straight RGB; broken files have a code."""

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms, features

from worker.errors import (
    CorruptImage,
    CutworkError,
    EmptySource,
    ImageTooLarge,
    NotAnImage,
    UnsupportedImage,
)
from worker.imaging.decode import open_image
from worker.imaging.libvips import write_tiff
from worker.imaging.png import write_png

LIMIT = 1_000_000
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def gradient(width: int = 48, height: int = 32) -> np.ndarray[Any, np.dtype[np.uint8]]:
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack((x * 5, y * 7, (x + y) * 3)).astype(np.uint8)


def saved(image: Image.Image, name: str, **parameters: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **parameters)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "tolerance", "parameters"),
    [
        ("PNG", 0, {}),
        ("BMP", 0, {}),
        ("TIFF", 0, {}),
        ("TIFF", 0, {"compression": "tiff_lzw"}),
        ("WEBP", 0, {"lossless": True}),
        ("WEBP", 24, {"quality": 95}),
        ("JPEG", 24, {"quality": 95}),
        ("JPEG", 24, {"quality": 95, "progressive": True}),
        ("AVIF", 24, {"quality": 95}),
        ("HEIF", 24, {"quality": 95}),
    ],
)
def test_formats(name: str, tolerance: int, parameters: dict[str, Any]) -> None:
    assert features.check("avif")
    pixels = gradient()
    picture = open_image(
        saved(Image.fromarray(pixels), name, **parameters), max_pixels=LIMIT
    ).decode()
    assert picture.format == name
    assert picture.size == (48, 32)
    assert picture.alpha is None
    assert picture.warnings == ()
    assert np.abs(picture.rgb.astype(int) - pixels).max() <= tolerance


def test_the_first_frame_of_a_gif() -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "green", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    picture = open_image(data, max_pixels=LIMIT).decode()
    assert picture.format == "GIF"
    assert picture.rgb[0, 0].tolist() == [255, 0, 0]


def test_a_jpeg_with_a_second_picture_inside() -> None:
    frames = [Image.fromarray(gradient()), Image.fromarray(gradient()[::2, ::2].copy())]
    data = saved(frames[0], "MPO", save_all=True, append_images=frames[1:])
    picture = open_image(data, max_pixels=LIMIT).decode()
    assert (picture.format, picture.size) == ("JPEG", (48, 32))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png_modes(mode: str) -> None:
    image = Image.fromarray(gradient()).convert(mode)
    picture = open_image(saved(image, "PNG"), max_pixels=LIMIT).decode()
    assert picture.mode == mode
    assert (picture.alpha is not None) == (mode in ("LA", "RGBA"))
    assert np.array_equal(picture.rgb, np.asarray(image.convert("RGB")))


def test_a_palette_with_a_transparent_colour() -> None:
    image = Image.fromarray(gradient()).convert("P")
    picture = open_image(saved(image, "PNG", transparency=0), max_pixels=LIMIT).decode()
    assert picture.alpha is not None
    assert set(np.unique(picture.alpha)) <= {0, 255}


def test_sixteen_bit_grey_keeps_its_high_byte() -> None:
    deep = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    for name in ("PNG", "TIFF"):
        picture = open_image(saved(Image.fromarray(deep), name), max_pixels=LIMIT).decode()
        assert picture.mode.startswith("I")
        assert np.array_equal(picture.rgb[:, :, 0], (deep >> 8).astype(np.uint8)), name


def test_sixteen_bit_grey_with_a_transparent_value() -> None:
    deep = np.array([[1000, 2000], [2000, 65535]], np.uint16)
    picture = open_image(
        saved(Image.fromarray(deep), "PNG", transparency=2000), max_pixels=LIMIT
    ).decode()
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 0], [0, 255]]


def test_sixteen_bit_colour_png() -> None:
    deep = np.dstack([np.arange(256, dtype=np.uint16).reshape(16, 16) * 257] * 3)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    data = png(16, 16, rows, depth=16)
    assert np.array_equal(
        open_image(data, max_pixels=LIMIT).decode().rgb, (deep >> 8).astype(np.uint8)
    )


@pytest.mark.parametrize("write", [write_png, write_tiff])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_kept_on_request(write: Any, channels: int) -> None:
    deep = np.random.default_rng(6).integers(0, 65536, (20, 30, channels), np.uint16)
    data = write(deep[:, :, 0] if channels == 1 else deep, icc_profile=None, dpi=None)
    picture = open_image(data, max_pixels=LIMIT).decode(depth=np.uint16)
    assert np.array_equal(picture.rgb, np.broadcast_to(deep[:, :, :3], (20, 30, 3)))
    assert (picture.alpha is not None) == (channels == 4)
    if picture.alpha is not None:
        assert np.array_equal(picture.alpha, deep[:, :, 3])
    shallow = open_image(data, max_pixels=LIMIT).decode()
    assert shallow.rgb.dtype == np.uint8
    assert np.abs(shallow.rgb - picture.rgb / 257).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_sixteen_bit_tiff_is_turned_upright(orientation: int) -> None:
    deep = np.random.default_rng(6).integers(0, 65536, (20, 30, 3), np.uint16)
    image = pyvips.Image.new_from_array(deep, interpretation="rgb16").copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    data = image.tiffsave_buffer()
    wide = open_image(data, max_pixels=LIMIT).decode(depth=np.uint16)
    plain = open_image(data, max_pixels=LIMIT).decode()
    assert wide.size == plain.size == ((20, 30) if orientation > 4 else (30, 20))
    assert np.abs(plain.rgb - wide.rgb / 257).max() <= 1
    assert wide.warnings == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bit_pictures_are_turned_upright(orientation: int) -> None:
    deep = np.random.default_rng(6).integers(0, 65536, (20, 30, 3), np.uint16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = write_png(deep, icc_profile=None, dpi=None)
    # libvips keeps no EXIF here; a chunk of it goes in front of the pixels, as cameras write it.
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    body = b"eXIf" + block
    chunk = struct.pack(">I", len(block)) + body + struct.pack(">I", zlib.crc32(body))
    place = data.index(b"IDAT") - 4
    data = data[:place] + chunk + data[place:]
    wide = open_image(data, max_pixels=LIMIT).decode(depth=np.uint16)
    plain = open_image(data, max_pixels=LIMIT).decode()
    assert wide.size == plain.size
    assert np.abs(plain.rgb - wide.rgb / 257).max() <= 1


def test_eight_bits_are_widened_to_sixteen_on_request() -> None:
    picture = open_image(saved(Image.fromarray(gradient()), "PNG"), max_pixels=LIMIT).decode(
        depth=np.uint16
    )
    assert np.array_equal(picture.rgb, gradient().astype(np.uint16) * 257)


def test_a_truncated_sixteen_bit_file_is_refused() -> None:
    deep = np.random.default_rng(6).integers(0, 65536, (200, 300, 3), np.uint16)
    data = write_png(deep, icc_profile=None, dpi=None)
    with pytest.raises(CorruptImage, match="cut short"):
        open_image(data[: len(data) // 2], max_pixels=LIMIT).decode(depth=np.uint16)


def test_signed_integers_are_refused() -> None:
    data = saved(Image.fromarray(np.full((8, 8), 1_000_000, np.int32)), "TIFF")
    with pytest.raises(UnsupportedImage, match="32-bit integers"):
        open_image(data, max_pixels=LIMIT).decode()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(orientation: int) -> None:
    upright = Image.fromarray(gradient())
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = open_image(saved(stored, "PNG", exif=exif), max_pixels=LIMIT).decode()
    assert np.array_equal(picture.rgb, gradient())


@pytest.mark.filterwarnings("ignore")
def test_a_broken_exif_block_does_not_fail_the_picture() -> None:
    good = saved(Image.fromarray(gradient()), "JPEG")
    block = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0" * 3
    data = good[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + good[2:]
    assert open_image(data, max_pixels=LIMIT).decode().size == (48, 32)


def test_a_colour_profile_and_a_resolution_are_kept() -> None:
    data = saved(Image.fromarray(gradient()), "JPEG", icc_profile=SRGB, dpi=(300, 300))
    picture = open_image(data, max_pixels=LIMIT).decode()
    assert picture.icc_profile == SRGB
    assert picture.dpi == (300, 300)


@pytest.mark.parametrize("name", ["WEBP", "AVIF", "HEIF"])
def test_a_resolution_in_exif_is_found(name: str) -> None:
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = 300.0, 150.0, 2
    data = saved(Image.fromarray(gradient()), name, exif=exif)
    assert open_image(data, max_pixels=LIMIT).decode().dpi == (300, 150)
    exif[282], exif[283], exif[296] = 100.0, 100.0, 3
    data = saved(Image.fromarray(gradient()), name, exif=exif)
    assert open_image(data, max_pixels=LIMIT).decode().dpi == (254, 254)


def test_a_profile_for_rgb_is_kept_for_grey_but_not_for_cmyk() -> None:
    data = saved(Image.fromarray(gradient()).convert("L"), "JPEG", icc_profile=SRGB)
    picture = open_image(data, max_pixels=LIMIT).decode()
    assert picture.icc_profile == SRGB
    assert picture.warnings == ()
    data = saved(Image.fromarray(gradient()).convert("CMYK"), "JPEG", icc_profile=SRGB)
    picture = open_image(data, max_pixels=LIMIT).decode()
    assert picture.icc_profile is None
    assert picture.warnings == ("colour profile dropped: it is for RGB, not CMYK",)


def test_a_broken_profile_is_a_warning() -> None:
    data = saved(Image.fromarray(gradient()), "PNG", icc_profile=b"not a profile")
    picture = open_image(data, max_pixels=LIMIT).decode()
    assert picture.icc_profile is None
    assert "colour profile dropped: expected the signature 'acsp'" in picture.warnings[0]


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(name: str) -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    picture = open_image(saved(red, name), max_pixels=LIMIT).decode()
    assert picture.mode == "CMYK"
    r, g, b = (int(value) for value in picture.rgb[8, 8])
    assert r > 200
    assert max(g, b) < 60


def test_an_empty_object_is_refused() -> None:
    with pytest.raises(EmptySource, match="0 bytes"):
        open_image(b"", max_pixels=LIMIT).decode()


@pytest.mark.parametrize(
    "data",
    [
        b"<html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"%!PS-Adobe",
        b"PK\3\4",
    ],
)
def test_bytes_that_are_not_an_image_are_refused(data: bytes) -> None:
    with pytest.raises(NotAnImage, match="expected one of JPEG, PNG"):
        open_image(data * 100, max_pixels=LIMIT).decode()


def test_a_format_outside_the_list_is_refused() -> None:
    for name in ("PPM", "ICO", "PCX", "EPS"):
        with pytest.raises(NotAnImage):
            open_image(saved(Image.fromarray(gradient()), name), max_pixels=LIMIT).decode()


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF"])
def test_every_truncation_is_refused_with_its_code(name: str) -> None:
    data = saved(Image.fromarray(gradient()), name)
    for length in {1, 10, 30, len(data) // 4, len(data) // 2, len(data) * 3 // 4}:
        with pytest.raises(CutworkError) as caught:
            open_image(data[:length], max_pixels=LIMIT).decode()
        assert caught.value.code in ("corrupt_image", "not_an_image"), length


def test_a_truncated_photograph_is_refused(photographs: Path) -> None:
    data = (photographs / "rocket.jpg").read_bytes()
    with pytest.raises(CorruptImage, match="may have been cut short"):
        open_image(data[: len(data) // 2], max_pixels=LIMIT).decode()


def test_the_size_is_checked_before_a_pixel_is_decoded() -> None:
    bomb = png(60_000, 60_000, b"")
    assert len(bomb) < 1000
    with pytest.raises(ImageTooLarge) as caught:
        open_image(bomb, max_pixels=100_000_000).decode()
    assert "at most 100,000,000 pixels (CUTWORK_MAX_PIXELS)" in str(caught.value)
    assert "60000×60000 = 3,600,000,000" in str(caught.value)


def test_the_limit_itself_is_allowed() -> None:
    data = saved(Image.new("L", (100, 100)), "PNG")
    assert open_image(data, max_pixels=10_000).decode().size == (100, 100)
    with pytest.raises(ImageTooLarge):
        open_image(data, max_pixels=9_999).decode()


def test_random_bit_flips_give_a_picture_or_an_error_code() -> None:
    random = np.random.default_rng(7)
    for name in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "HEIF"):
        data = np.frombuffer(saved(Image.fromarray(gradient()), name), np.uint8)
        for _ in range(150):
            broken = data.copy()
            places = random.integers(0, len(data), 3)
            broken[places] ^= random.integers(1, 255, 3).astype(np.uint8)
            with suppress(CutworkError):
                assert open_image(broken.tobytes(), max_pixels=LIMIT).decode().rgb.ndim == 3


def png(width: int, height: int, rows: bytes, *, depth: int = 8) -> bytes:
    """Build an RGB PNG from its chunks."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
