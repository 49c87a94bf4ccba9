"""Hand-made PNGs: sizes, decompression bombs in every chunk, countless chunks."""

import struct
import zlib
from collections.abc import Iterator
from functools import partial

from tests.support.hostile.file import BOMB, CORRUPT, DONE, EITHER, REFUSED, TOO_LARGE, HostileFile
from tests.support.hostile.originals import originals

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, RGBA = 0, 2, 3, 6


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int,
    height: int,
    *parts: bytes,
    depth: int = 8,
    colour: int = RGB,
    interlaced: int = 0,
    rows: bytes | None = None,
) -> bytes:
    """Return a PNG with parts before its pixels; `rows` are uncompressed, None is black."""
    samples = {GREY: 1, RGB: 3, PALETTE: 1, RGBA: 4}.get(colour, 1)
    if rows is None:
        rows = bytes(1 + (width * samples * depth + 7) // 8) * height
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    pixels = chunk(b"IDAT", zlib.compress(rows, 9))
    return SIGNATURE + chunk(b"IHDR", header) + b"".join(parts) + pixels + chunk(b"IEND", b"")


def attacks() -> Iterator[HostileFile]:
    make = HostileFile
    one = partial(png, 9, 9)
    bomb = zlib.compress(bytes(30_000_000), 9)
    large = zlib.compress(bytes(4_000_000), 9)
    yield make("png/huge.png", png(60_000, 60_000, rows=bytes(900_000)), TOO_LARGE)
    yield make("png/wide.png", png(100_000_000, 1, rows=b""), TOO_LARGE)
    yield make("png/tall.png", png(1, 100_000_000, rows=b""), TOO_LARGE)
    yield make("png/most.png", png(2**31 - 1, 2**31 - 1, rows=b""), TOO_LARGE)
    yield make("png/negative.png", png(2**32 - 1, 2**32 - 1, rows=b""), TOO_LARGE)
    yield make("png/no-width.png", png(0, 9, rows=b""), REFUSED)
    yield make("png/no-pixels.png", png(9_000, 9_000, rows=b""), CORRUPT)
    yield make("png/side.png", png(1_000_000, 2, colour=GREY), DONE)
    yield make("png/interlaced-huge.png", png(60_000, 60_000, interlaced=1, rows=b""), TOO_LARGE)
    yield make("png/interlaced.png", png(2_000, 1_500, interlaced=1, rows=bytes(9_020_000)), DONE)
    yield make("png/narrow.png", png(1, 600_000, depth=16, colour=GREY), DONE)
    yield make("png/deep.png", png(900, 800, depth=16, colour=RGBA), DONE)
    for depth, colour in ((1, RGB), (3, GREY), (16, PALETTE), (255, RGB), (8, 1), (8, 7)):
        yield make(f"png/depth-{depth}-{colour}.png", one(depth=depth, colour=colour), REFUSED)
    for depth in (1, 2, 4, 8):
        data = one(
            chunk(b"PLTE", b"\1\2\3"),
            depth=depth,
            colour=PALETTE,
            rows=(b"\0" + b"\xff" * ((9 * depth + 7) // 8)) * 9,
        )
        yield make(f"png/index-{depth}.png", data, DONE)
    yield make("png/no-palette.png", one(colour=PALETTE), EITHER)
    yield make(
        "png/long-palette.png", one(chunk(b"PLTE", bytes(3 * 5_000)), colour=PALETTE), EITHER
    )
    yield make("png/filters.png", one(rows=bytes((9, *range(27))) * 9), EITHER)
    yield make("png/more-rows.png", one(rows=bytes(40_000_000)), DONE)
    yield make("png/profile-bomb.png", one(chunk(b"iCCP", b"a\0\0" + bomb)), DONE)
    yield make("png/profile-large.png", one(chunk(b"iCCP", b"a\0\0" + large)), DONE)
    yield make("png/profiles.png", one(chunk(b"iCCP", b"a\0\0" + large) * 251), BOMB)
    yield make("png/text-bomb.png", one(chunk(b"zTXt", b"a\0\0" + bomb)), EITHER)
    yield make("png/utf-bomb.png", one(chunk(b"iTXt", b"a\0\1\0\0\0" + bomb)), EITHER)
    yield make("png/texts.png", one(chunk(b"zTXt", b"a\0\0" + large) * 251), BOMB)
    yield make("png/broken-texts.png", one(chunk(b"zTXt", b"a\0\0" + large[:-9]) * 200), EITHER)
    yield make("png/chunks.png", one(chunk(b"prVt", b"") * 250_000), BOMB)
    yield make("png/pixels-in-crumbs.png", one(chunk(b"IDAT", b"") * 250_000), BOMB)
    yield make("png/chunk-length.png", one(b"\xff\xff\xff\xffprVt"), EITHER)
    yield make("png/chunk-name.png", one(chunk(b"\0\n\xff<", b"x")), EITHER)
    yield make("png/two-headers.png", one(png(60_000, 60_000, rows=b"")[8:33]), TOO_LARGE | EITHER)
    yield make("png/short-header.png", SIGNATURE + chunk(b"IHDR", b"\0" * 5), REFUSED)
    yield make("png/no-header.png", SIGNATURE + chunk(b"IEND", b""), REFUSED)
    yield make("png/signature.png", SIGNATURE, REFUSED)
    for kind in (b"tRNS", b"gAMA", b"cHRM", b"pHYs", b"eXIf", b"sRGB", b"acTL", b"fcTL"):
        for body in (b"", b"\xff" * 7, b"\xff" * 40):
            name = f"png/{kind.decode()}-{len(body)}.png"
            yield make(name, one(chunk(kind, body)), EITHER)
    wrong = chunk(b"tEXt", b"a\0b")[:-1] + b"x"
    yield make("png/wrong-checksums.png", one(wrong * 200_000), DONE)
    wrong = chunk(b"tEXt", bytes(15 * 2**20))[:-1] + b"x"
    for depth in (8, 16):
        yield make(f"png/wrong-checksum-{depth}.png", one(wrong, depth=depth), DONE)
    yield make("png/transparencies.png", one(chunk(b"tRNS", b"") * 200_000), DONE)
    frame = struct.pack(">IIIIIHHBB", 0, 60_000, 60_000, 0, 0, 1, 1, 0, 0)
    frames = chunk(b"acTL", struct.pack(">II", 2**31, 0)) + chunk(b"fcTL", frame)
    yield make("png/frames-huge.png", one(frames), EITHER)
    whole = originals()["moving.png"]
    yield make("png/frames-only.png", whole.replace(b"IDAT", b"fdAT"), EITHER)
