"""Hand-made GIFs and BMPs with countless frames and blocks, and run lengths out of bounds."""

import struct
from collections.abc import Iterator

from tests.support.hostile.file import BOMB, DONE, EITHER, MAYBE, REFUSED, TOO_LARGE, HostileFile

PALETTE = bytes(range(12))


def gif(width: int, height: int, *parts: bytes) -> bytes:
    """Return a GIF89a with a palette of four colours."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x81, 0, 0) + PALETTE + b"".join(parts)


def frame(width: int, height: int, *, left: int = 0, code: int = 2) -> bytes:
    """Return one frame with the pixel data of a 1×1 image."""
    return b"," + struct.pack("<HHHHB", left, 0, width, height, 0) + bytes((code,)) + b"\2\x44\1\0"


def gifs() -> Iterator[HostileFile]:
    one, end = frame(1, 1), b";"
    yield HostileFile("gif/10000-frames.gif", gif(9, 9, one * 10_000, end), EITHER)
    yield HostileFile("gif/frames-only.gif", gif(1, 1, one * 10_000), DONE)
    yield HostileFile("gif/million-frames.gif", gif(1, 1, one * 1_000_000, end), DONE)
    yield HostileFile("gif/huge.gif", gif(65_535, 65_535, one, end), TOO_LARGE)
    yield HostileFile("gif/huge-frame.gif", gif(1, 1, frame(65_535, 65_535), end), TOO_LARGE)
    yield HostileFile("gif/frame-outside.gif", gif(9, 9, frame(9, 9, left=65_000), end), EITHER)
    yield HostileFile("gif/large.gif", gif(1_600, 1_200, frame(1_600, 1_200), end), EITHER)
    yield HostileFile("gif/no-width.gif", gif(0, 0, one, end), EITHER)
    yield HostileFile("gif/no-frame.gif", gif(9, 9, end), REFUSED)
    yield HostileFile("gif/comments.gif", gif(1, 1, b"!\xfe\1a\0" * 100_000, one, end), BOMB)
    yield HostileFile(
        "gif/long-comment.gif", gif(1, 1, b"!\xfe", b"\1a" * 250_000, b"\0", one), BOMB
    )
    yield HostileFile("gif/junk.gif", gif(1, 1, b"\1" * 250_000, one, end), BOMB)
    yield HostileFile("gif/endless-block.gif", gif(1, 1, b"!\xfe" + b"\xff" * 9), REFUSED)
    for code in (0, 1, 9, 12, 13, 255):
        yield HostileFile(f"gif/code-{code}.gif", gif(1, 1, frame(1, 1, code=code), end), EITHER)
    loop = b"!\xff\x0bNETSCAPE2.0\1\1\0"
    yield HostileFile("gif/short-loop.gif", gif(1, 1, loop, one, end), DONE)
    control = b"!\xf9\1\xff\0"
    yield HostileFile("gif/short-control.gif", gif(1, 1, control, one, end), EITHER)


def bmp(
    width: int,
    height: int,
    pixels: bytes,
    *,
    bits: int = 8,
    compression: int = 0,
    colours: int = 256,
    header: int = 40,
) -> bytes:
    """Return a BMP with a grey palette."""
    palette = b"".join(bytes((n, n, n, 0)) for n in range(min(colours, 256)))
    offset = 54 + len(palette)
    info = struct.pack(
        "<IiiHHIIiiII", header, width, height, 1, bits, compression, 0, 0, 0, colours, 0
    )
    return b"BM" + struct.pack("<IHHI", offset, 0, 0, offset) + info + palette + pixels


def bmps() -> Iterator[HostileFile]:
    rle8, rle4 = 1, 2
    line = b"\1\1\0\0"
    yield HostileFile(
        "bmp/lines.bmp", bmp(10_000, 10_000, line * 10_000, compression=rle8), TOO_LARGE
    )
    yield HostileFile("bmp/lines-small.bmp", bmp(1_000, 500, line * 500, compression=rle8), DONE)
    jump = b"\0\2\xff\xff"
    yield HostileFile("bmp/jumps.bmp", bmp(9_000, 1_000, jump * 90, compression=rle8), EITHER)
    yield HostileFile("bmp/nowhere.bmp", bmp(9, 9, b"\0\2\0\0" * 90_000, compression=rle8), BOMB)
    yield HostileFile("bmp/no-runs.bmp", bmp(900, 900, b"\0\0" * 900_000, compression=rle8), EITHER)
    yield HostileFile("bmp/index.bmp", bmp(4, 4, b"\xff" * 16, colours=2), EITHER)
    yield HostileFile(
        "bmp/half-bytes.bmp", bmp(64, 64, b"\xff\x12" * 99, bits=4, compression=rle4), EITHER
    )
    yield HostileFile("bmp/upside-down.bmp", bmp(4, -4, bytes(16)), EITHER)
    for width, height in ((-4, 4), (0, 4), (2**31 - 1, 2**31 - 1), (4, -(2**31))):
        data = bmp(width, height, bytes(16))
        yield HostileFile(f"bmp/{width}x{height}.bmp", data, REFUSED | TOO_LARGE)
    for bits in (0, 1, 2, 3, 4, 16, 24, 32, 64, 65_535):
        yield HostileFile(f"bmp/bits-{bits}.bmp", bmp(4, 4, bytes(64), bits=bits), MAYBE)
    for compression in (1, 2, 3, 4, 5, 6, 11, 99):
        data = bmp(4, 4, bytes(64), compression=compression, bits=32)
        yield HostileFile(f"bmp/compression-{compression}.bmp", data, MAYBE)
    for colours in (0, 1, 257, 2**31):
        yield HostileFile(
            f"bmp/colours-{colours}.bmp", bmp(4, 4, bytes(64), colours=colours), EITHER
        )
    for header in (0, 12, 39, 64, 108, 124, 2**31):
        yield HostileFile(f"bmp/header-{header}.bmp", bmp(4, 4, bytes(99), header=header), MAYBE)
