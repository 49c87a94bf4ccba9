"""WebP, AVIF and HEIF with countless frames, and with sizes and boxes in contradiction."""

import io
import struct
from collections.abc import Iterator

from PIL import Image

from tests.support.hostile.boundaries import boundaries
from tests.support.hostile.file import ANY, DONE, EITHER, TOO_LARGE, HostileFile
from tests.support.hostile.originals import originals


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP made of chunks."""
    body = b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webps() -> Iterator[HostileFile]:
    pixels = _one_pixel()
    inside = pixels[12:]
    frame = bytes(6) + bytes(6) + b"\x64\0\0\0" + inside
    for count, ends in ((1, DONE), (5_000, DONE), (40_000, EITHER)):
        data = riff(_canvas(1, 1), (b"ANIM", bytes(6)), *((b"ANMF", frame),) * count)
        yield HostileFile(f"webp/{count}-frames.webp", data, ends)
    huge = riff(_canvas(2**24, 2**24), (b"ANIM", bytes(6)), (b"ANMF", frame))
    yield HostileFile("webp/huge-canvas.webp", huge, ANY)
    wide = riff(_canvas(16_384, 16_384), (b"ANIM", bytes(6)), (b"ANMF", frame))
    yield HostileFile("webp/canvas-268.webp", wide, TOO_LARGE)
    large = riff(_canvas(1_600, 1_600), (b"ANIM", bytes(6)), (b"ANMF", frame))
    yield HostileFile("webp/canvas-3.webp", large, DONE)
    outside = struct.pack("<I", 2**24 - 1)[:3] * 2 + frame[6:]
    data = riff(_canvas(1, 1), (b"ANIM", bytes(6)), (b"ANMF", outside))
    yield HostileFile("webp/frame-outside.webp", data, EITHER)
    yield HostileFile("webp/no-pixels.webp", riff(_canvas(9, 9)), EITHER)
    yield HostileFile("webp/two-pictures.webp", pixels + inside, EITHER)
    many = riff(_canvas(1, 1), (b"XMP ", b"x"), *((b"junk", b""),) * 100_000)
    yield HostileFile("webp/chunks.webp", many, EITHER)
    for length in (0, 1, 2**31, 2**32 - 1):
        broken = pixels[:4] + struct.pack("<I", length) + pixels[8:]
        yield HostileFile(f"webp/length-{length}.webp", broken, EITHER)


def isos() -> Iterator[HostileFile]:
    """Yield AVIF and HEIC files with the length of each box, and each size, replaced."""
    for name in ("photo.avif", "photo.heic"):
        data = originals()[name]
        suffix = name.rpartition(".")[2]
        for place in boundaries(name, data):
            if not data[place + 4 : place + 8].isalpha():
                continue
            kind = data[place + 4 : place + 8].decode()
            for length in (0, 2**32 - 1):
                broken = data[:place] + struct.pack(">I", length) + data[place + 4 :]
                yield HostileFile(f"iso/{kind}-{place}-{length}.{suffix}", broken, ANY)
            gone = data[: place + 4] + b"free" + data[place + 8 :]
            yield HostileFile(f"iso/without-{kind}-{place}.{suffix}", gone, ANY)
        place = data.index(b"ispe") + 8
        for side in (0, 1, 60_000, 2**32 - 1):
            broken = data[:place] + struct.pack(">II", side, side) + data[place + 8 :]
            yield HostileFile(f"iso/size-{side}.{suffix}", broken, ANY)
        grid = data.replace(b"av01", b"grid").replace(b"hvc1", b"grid")
        yield HostileFile(f"iso/grid.{suffix}", grid, ANY)
        for brand in (b"mif1", b"msf1", b"avis", b"hevc", b"heic", b"avif", b"mp42"):
            branded = data[:8] + brand + data[12:]
            yield HostileFile(f"iso/brand-{brand.decode()}.{suffix}", branded, EITHER)


def _canvas(width: int, height: int) -> tuple[bytes, bytes]:
    sides = (struct.pack("<I", side - 1)[:3] for side in (width, height))
    return b"VP8X", b"\x12\0\0\0" + b"".join(sides)


def _one_pixel() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "WEBP")
    return buffer.getvalue()
