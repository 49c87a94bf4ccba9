"""The code says the truth: not_an_image only for bytes that begin like no format that is read."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from worker.errors import CorruptImage, CutworkError, NotAnImage, UnsupportedImage
from worker.imaging.decode import open_image
from worker.imaging.readers.signature import FORMATS, format_of

GRADIENT = Image.linear_gradient("L").resize((32, 24)).convert("RGB")


def saved(name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    GRADIENT.save(buffer, name, **options)
    return buffer.getvalue()


def tiff(pixels: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, metadata=None, **options)
    return buffer.getvalue()


def error_of(data: bytes) -> CutworkError:
    with pytest.raises(CutworkError) as caught:
        open_image(data, max_pixels=10**6).decode()
    return caught.value


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_behind_its_signature_is_corrupt(name: str) -> None:
    data = saved(name)
    assert format_of(data) == name
    shortest = next(n for n in range(len(data)) if format_of(data[:n]) == name)
    for length in range(shortest, min(shortest + 200, len(data) - 20), 7):
        assert error_of(data[:length]).code in ("corrupt_image", "unsupported_image"), length
    assert error_of(data[: shortest - 1]).code == "not_an_image"
    # Nothing but noise behind the signature.
    noise = np.random.default_rng(5).bytes(2000)
    assert error_of(data[:shortest] + noise).code != "not_an_image"


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_kind_of_tiff_is_known(order: str, bigtiff: bool) -> None:
    data = tiff(np.zeros((8, 8, 3), np.uint8), photometric="rgb", byteorder=order, bigtiff=bigtiff)
    assert format_of(data) == "TIFF"
    assert open_image(data, max_pixels=100).decode().size == (8, 8)
    assert isinstance(error_of(data[:20]), CorruptImage)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\xff\x0a" + bytes(99), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "JPEG 2000"),
        (b"\xff\x4f\xff\x51" + bytes(99), "JPEG 2000"),
        (b"8BPS\0\1" + bytes(99), "Photoshop"),
        (b"\x76\x2f\x31\x01" + bytes(99), "OpenEXR"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "video"),
        (b"IIRO\x08\0\0\0" + bytes(99), "camera raw"),
        (b"IIU\0\x18\0\0\0" + bytes(99), "camera raw"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw"),
        (b"II\xbc\1" + bytes(99), "JPEG XR"),
        (b"<?xml version='1.0'?>\n<svg/>", "SVG"),
        (b"BM is also the start of a sentence about bitmaps", "begin with b'BM is"),
        (b"RIFF\0\0\0\0WAVEfmt ", "begin with b'RIFF"),
        (b"II*", "3 bytes"),
    ],
)
def test_other_formats_are_named(data: bytes, name: str) -> None:
    error = error_of(data)
    assert isinstance(error, NotAnImage)
    assert "expected one of JPEG, PNG" in str(error)
    assert name in str(error)


GREY = np.zeros((24, 32), np.uint16)
PLATES = np.zeros((24, 32, 5), np.uint8)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiff(GREY.astype(np.int16)), ["grey, 1 sample of 16-bit integers with a sign"]),
        (tiff(GREY.astype(np.int32)), ["32-bit integers with a sign"]),
        (tiff(GREY.astype(np.float64)), ["1 sample of 64-bit floating point"]),
        (tiff(GREY.astype(np.uint64)), ["64-bit integers"]),
        (tiff(GREY.astype(np.complex64)), ["64-bit complex floating point"]),
        (tiff(GREY, photometric="cfa"), ["colour filter array", "1 sample of 16-bit"]),
        (tiff(GREY, compression="jpeg2000"), ["compression JPEG 2000"]),
        (tiff(GREY, compression="lerc"), ["compression LERC"]),
        (tiff(GREY, compression="jpegxl"), ["compression JPEG XL"]),
        (tiff(GREY, compression="zstd"), ["1 sample of 16-bit integers", "Zstandard"]),
        (tiff(np.zeros((24, 32, 3), np.uint16), photometric="icclab"), ["ICC L*a*b*, 3 samples"]),
        (
            tiff(PLATES, photometric="separated", extratags=[(332, 3, 1, 2, True)]),
            ["CMYK, 5 samples", "inks"],
        ),
    ],
)  # fmt: skip
def test_a_tiff_that_is_not_read_is_named(data: bytes, words: list[str]) -> None:
    error = error_of(data)
    assert isinstance(error, UnsupportedImage)
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize(
    ("bits", "samples"), [(2, 3), (4, 3), (4, 2), (12, 1), (10, 3), (14, 1), (24, 1)]
)
def test_a_tiff_of_other_bits_is_named(bits: int, samples: int) -> None:
    shape = (24, 32) if samples == 1 else (24, 32, samples)
    pixels = np.zeros(shape, np.min_scalar_type(2**bits - 1))
    photometric = "rgb" if samples == 3 else "minisblack"
    planes = None if samples == 1 else "contig"
    data = tiff(pixels, bitspersample=bits, photometric=photometric, planarconfig=planes)
    error = error_of(data)
    assert isinstance(error, UnsupportedImage)
    assert f"{samples} sample" in str(error)
    assert f"of {bits}-bit integers" in str(error)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (4, 12, "baseline JPEG of 3 samples of 12 bits"),
        (9, 2, "baseline JPEG of 2 samples of 8 bits"),
        (1, 0xC5, "JPEG of 3 samples of 8 bits"),
        (1, 0xF7, "JPEG-LS"),
    ],
)
def test_a_jpeg_that_is_not_read_is_named(place: int, value: int, words: str) -> None:
    data = bytearray(saved("JPEG"))
    data[data.index(b"\xff\xc0") + place] = value
    error = error_of(bytes(data))
    assert isinstance(error, UnsupportedImage)
    assert words in str(error)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (14, 41, "header of 41 bytes"),
        (28, 2, "2 bits"),
        (30, 4, "compression JPEG"),
        (30, 5, "PNG"),
    ],
)
def test_a_bmp_that_is_not_read_is_named(place: int, value: int, words: str) -> None:
    data = bytearray(saved("BMP"))
    data[place] = value
    error = error_of(bytes(data))
    assert isinstance(error, UnsupportedImage)
    assert words in str(error)


@pytest.mark.parametrize(
    ("header", "bits", "masks"),
    [
        (40, 32, (0xFF, 0xFF00, 0xFF0000)),
        (40, 32, (0x3FF00000, 0xFFC00, 0x3FF)),
        (56, 16, (0xF00, 0xF0, 0xF, 0xF000)),
        (108, 32, (0xFF, 0xFF00, 0xFF0000, 0)),
        (124, 24, (0xFF, 0xFF00, 0xFF0000, 0)),
    ],
)
def test_bit_fields_of_a_bmp_that_are_not_read_are_named(
    header: int, bits: int, masks: tuple[int, ...]
) -> None:
    fields = struct.pack(f"<{len(masks)}I", *masks)
    data = struct.pack("<IiiHHII16x", header, 4, 5, 1, bits, 3, 0) + fields
    data = data.ljust(header, b"\0") + bytes(4 * 5 * 4)
    error = error_of(b"BM" + struct.pack("<IxxxxI", 14 + len(data), 14 + len(data) - 80) + data)
    assert isinstance(error, UnsupportedImage)
    assert all(f"{mask:#x}" in str(error) for mask in masks[:3])


def test_a_tiff_without_a_photometric_interpretation_is_not_broken() -> None:
    data = tiff(np.zeros((24, 32), np.uint8))
    entry, other = struct.pack("<HH", 262, 3), struct.pack("<HH", 263, 3)
    assert data.count(entry) == 1
    error = error_of(data.replace(entry, other))
    assert isinstance(error, UnsupportedImage)
    assert "camera raw" in str(error)


@pytest.mark.parametrize("codec", [b"jpeg", b"vvc1", b"j2k1", b"unci"])
def test_a_heif_that_is_not_read_is_named(codec: bytes) -> None:
    data = saved("HEIF")
    assert data.count(b"hvc1") >= 1
    error = error_of(data.replace(b"hvc1", codec))
    assert isinstance(error, UnsupportedImage)
    assert "pictures coded as" in str(error)


def test_av1_is_not_read_without_its_brand() -> None:
    error = error_of(saved("AVIF").replace(b"avif", b"mif1"))
    assert isinstance(error, UnsupportedImage)
    assert "AV1" in str(error)


def test_a_png_of_impossible_bits_is_corrupt() -> None:
    data = bytearray(saved("PNG"))
    for bits, kind in ((3, 2), (4, 2), (8, 5), (16, 3), (32, 0)):
        data[24:26] = bytes((bits, kind))
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
        assert error_of(bytes(data)).code == "corrupt_image", (bits, kind)
