"""Pictures of every kind of pixels, to be written with an ICC profile or without one."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.support import icc_profiles as icc
from tests.support.hostile.png import chunk, png
from worker.imaging.decode import Picture, open_image
from worker.imaging.masks import Depth

WIDTH, HEIGHT = 64, 8
GREY: Final = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (HEIGHT, 1))
ALPHA: Final = np.full_like(GREY, 200)
RGB: Final = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
INK: Final = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)

Pixels = NDArray[Any]
Write = Callable[[bytes], bytes]


def decoded(data: bytes, depth: Depth = np.uint8) -> Picture:
    return open_image(data, max_pixels=10_000).decode(depth=depth)


def checked(data: bytes) -> Picture:
    """Return the picture of 8 bits, which is the high byte of that of 16 bits."""
    shallow, deep = decoded(data), decoded(data, np.uint16)
    assert np.array_equal(shallow.rgb, deep.rgb >> 8)
    assert shallow.icc_profile == deep.icc_profile
    assert shallow.warnings == deep.warnings
    return shallow


def wide(pixels: Pixels) -> Pixels:
    return pixels.astype(np.uint16) * np.uint16(257)


def as_png(pixels: Pixels, colour: int, *parts: bytes) -> Write:
    depth = 8 * pixels.dtype.itemsize
    rows = b"".join(b"\0" + row.astype(f">u{pixels.dtype.itemsize}").tobytes() for row in pixels)
    return lambda icc: png(WIDTH, HEIGHT, iccp(icc), *parts, depth=depth, colour=colour, rows=rows)


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile))


def as_tiff(pixels: Pixels, photometric: str, **options: Any) -> Write:
    def write(profile: bytes) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, photometric=photometric, iccprofile=profile, **options)
        return buffer.getvalue()

    return write


def by_pillow(image: Image.Image, name: str, **options: Any) -> Write:
    def write(profile: bytes) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, name, icc_profile=profile, **options)
        return buffer.getvalue()

    return write


def as_bmp(pixels: Pixels) -> Write:
    """With a header of version 5, in which a profile has a place."""

    def write(profile: bytes) -> bytes:
        height, width = pixels.shape[:2]
        body = pixels[::-1, :, ::-1].tobytes()
        assert width * 3 % 4 == 0
        start = 14 + 124
        head = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 24, 0, len(body), 0, 0, 0, 0)
        head += bytes(16) + struct.pack("<I", 0x4D424544) + bytes(48)
        head += struct.pack("<IIII", 4, 124 + len(body), len(profile), 0)
        file = struct.pack("<2sIII", b"BM", start + len(body) + len(profile), 0, start)
        return file + head + body + profile

    return write


def as_gif(pixels: Pixels) -> Write:
    def write(profile: bytes) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).quantize(16).save(buffer, "GIF")
        data = buffer.getvalue()
        start = 13 + 3 * (2 << (data[10] & 7))
        blocks = [profile[place : place + 255] for place in range(0, len(profile), 255)]
        body = b"".join(bytes((len(block),)) + block for block in blocks)
        return data[:start] + b"!\xff\x0bICCRGBG1012" + body + b"\0" + data[start:]

    return write


LA: Final = np.dstack([GREY, ALPHA])
RGBA: Final = np.dstack([RGB, ALPHA])
KEY: Final = chunk(b"tRNS", struct.pack(">H", 8))
UNASSOCIATED: Final = {"extrasamples": ["unassalpha"]}

GREY_FILES: Final[Mapping[str, tuple[Write, Pixels]]] = {
    "png-L": (as_png(GREY, 0), GREY),
    "png-LA": (as_png(LA, 4), GREY),
    "png-L16": (as_png(wide(GREY), 0), GREY),
    "png-LA16": (as_png(wide(LA), 4), GREY),
    "png-key": (as_png(GREY, 0, KEY), GREY),
    "png-key16": (as_png(wide(GREY), 0, chunk(b"tRNS", struct.pack(">H", 8 * 257))), GREY),
    "png-1": (by_pillow(Image.fromarray(GREY > 127), "PNG"), np.where(GREY > 127, 255, 0)),
    "jpeg": (by_pillow(Image.fromarray(np.full_like(GREY, 90)), "JPEG"), np.full_like(GREY, 90)),
    "avif": (by_pillow(Image.fromarray(np.full_like(GREY, 90)), "AVIF"), np.full_like(GREY, 90)),
    "heif": (by_pillow(Image.fromarray(np.full_like(GREY, 90)), "HEIF"), np.full_like(GREY, 90)),
    "heif16": (
        by_pillow(Image.fromarray(np.full_like(wide(GREY), 90 * 257)), "HEIF"),
        np.full_like(GREY, 90),
    ),
    "tiff-L": (as_tiff(GREY, "minisblack"), GREY),
    "tiff-L16": (as_tiff(wide(GREY), "minisblack"), GREY),
    "tiff-L16-big-endian": (as_tiff(wide(GREY), "minisblack", byteorder=">"), GREY),
    "tiff-float": (as_tiff((GREY / 255).astype(np.float32), "minisblack"), GREY),
    "tiff-LA": (as_tiff(LA, "minisblack", **UNASSOCIATED), GREY),
    "tiff-LA16": (as_tiff(wide(LA), "minisblack", **UNASSOCIATED), GREY),
    "tiff-negative": (as_tiff(GREY, "miniswhite"), 255 - GREY),
    "tiff-negative16": (as_tiff(wide(GREY), "miniswhite"), 255 - GREY),
    "tiff-1": (as_tiff(GREY > 127, "minisblack"), np.where(GREY > 127, 255, 0)),
}
"""How to write grey pixels with a profile, and their levels in 8 bits."""
RGB_FILES: Final[Mapping[str, Write]] = {
    "png-RGB": as_png(RGB, 2),
    "png-RGBA": as_png(RGBA, 6),
    "png-RGB16": as_png(wide(RGB), 2),
    "png-RGBA16": as_png(wide(RGBA), 6),
    "png-P": by_pillow(Image.fromarray(RGB).quantize(16), "PNG"),
    "png-P-key": by_pillow(Image.fromarray(RGB).quantize(16), "PNG", transparency=3),
    "jpeg": by_pillow(Image.fromarray(RGB), "JPEG"),
    "webp": by_pillow(Image.fromarray(RGBA), "WEBP", lossless=True),
    "avif": by_pillow(Image.fromarray(RGBA), "AVIF"),
    "heif": by_pillow(Image.fromarray(RGBA), "HEIF"),
    "bmp": as_bmp(RGB),
    "gif": as_gif(RGB),
    "tiff-RGB": as_tiff(RGB, "rgb"),
    "tiff-RGBA16": as_tiff(wide(RGBA), "rgb", **UNASSOCIATED),
    "tiff-planes": as_tiff(np.moveaxis(RGB, -1, 0), "rgb", planarconfig="separate"),
    "tiff-P": by_pillow(Image.fromarray(RGB).quantize(16), "TIFF"),
    "tiff-YCbCr": by_pillow(Image.fromarray(RGB).convert("YCbCr"), "TIFF"),
    "tiff-YCbCr-jpeg": by_pillow(Image.fromarray(RGB).convert("YCbCr"), "TIFF", compression="jpeg"),
}
CMYK_FILES: Final[Mapping[str, Write]] = {
    "jpeg": by_pillow(Image.fromarray(INK, "CMYK"), "JPEG", quality=100, subsampling=0),
    "tiff": as_tiff(INK, "separated"),
    "tiff-alpha": as_tiff(np.dstack([INK, ALPHA]), "separated", **UNASSOCIATED),
    "tiff-16": as_tiff(wide(INK), "separated"),
    "tiff-alpha16": as_tiff(wide(np.dstack([INK, ALPHA])), "separated", **UNASSOCIATED),
}
P3: Final = icc.matrix("p3", icc.gamma(2.2))
CMYK: Final = icc.real_profiles()["CMYK of libvips"]
