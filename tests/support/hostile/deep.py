"""HEIC and AVIF of 10 bits, cut, flipped, with endless parameters; colours in TIFF tags."""

import io
import random
import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
import pillow_heif
import pyvips

from tests.support.hostile.exif import LONG, SHORT
from tests.support.hostile.file import ANY, DONE, EITHER, MAYBE, HostileFile
from tests.support.hostile.tiff import BLACK, tiff

_WIDTH, _HEIGHT = 64, 48
_TRANSFER_FUNCTION: Final = 301
_EXIF: Final = 34665


def pictures() -> dict[str, bytes]:
    """Return a HEIC and an AVIF of 10 bits."""
    pixels = np.random.default_rng(5).integers(0, 65536, (_HEIGHT, _WIDTH, 4), np.uint16)
    buffer = io.BytesIO()
    pillow_heif.encode("RGBA;16", (_WIDTH, _HEIGHT), pixels.tobytes(), buffer, quality=50)
    image = pyvips.Image.new_from_array(pixels, interpretation="rgb16")
    avif: bytes = image.heifsave_buffer(compression="av1", bitdepth=10, Q=50, effort=0)
    return {"heic": buffer.getvalue(), "avif": avif}


def attacks() -> Iterator[HostileFile]:
    for suffix, data in pictures().items():
        yield HostileFile(f"deep/whole.{suffix}", data, DONE)
        for part in range(1, 8):
            cut = data[: part * len(data) // 8]
            yield HostileFile(f"deep/{part}-eighths.{suffix}", cut, MAYBE)
        choose = random.Random(6)
        for number in range(24):
            place = choose.randrange(12, len(data))
            flipped = bytes((data[place] ^ 1 << choose.randrange(8),))
            name = f"deep/flipped-{number}.{suffix}"
            yield HostileFile(name, data[:place] + flipped + data[place + 1 :], ANY)
    yield from _parameter_sets(pictures()["heic"])
    curve = (_TRANSFER_FUNCTION, SHORT, 3 * 2**16, 8)
    yield HostileFile("deep/transfer-function.tif", tiff(BLACK, curve, tail=bytes(2**19)), DONE)
    short_curve = (_TRANSFER_FUNCTION, SHORT, 3, 8)
    yield HostileFile("deep/short-transfer-function.tif", tiff(BLACK, short_curve), DONE)
    for place in (0, 1, 8, 2**31, 2**32 - 1):
        data = tiff(BLACK, (_EXIF, LONG, 1, place))
        yield HostileFile(f"deep/exif-{place}.tif", data, EITHER)


def _parameter_sets(data: bytes) -> Iterator[HostileFile]:
    """Yield a HEIC without `colr` whose parameter set is replaced; the decoder need not take it."""
    data = data.replace(b"colrnclx", b"freenclx")
    yield HostileFile("deep/without-colr.heic", data, DONE)
    start = data.index(b"\x42\x01\x01", data.index(b"hvcC"))
    length = int.from_bytes(data[start - 2 : start], "big")
    for name, byte in (("ones", b"\xff"), ("zeros", b"\0"), ("steps", b"\x55")):
        filled = data[: start + 14] + byte * (length - 14) + data[start + length :]
        yield HostileFile(f"deep/parameters-of-{name}.heic", filled, ANY)
    counted = data[: start - 4] + struct.pack(">H", 65_535) + data[start - 2 :]
    yield HostileFile("deep/countless-parameters.heic", counted, ANY)
