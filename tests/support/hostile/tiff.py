"""Hand-made TIFFs with invalid counts, tiles, compressions and pages."""

import struct
import zlib
from collections.abc import Iterator

from tests.support.hostile.exif import BYTE, END, LONG, RATIONAL, SHORT, Entry, directory
from tests.support.hostile.file import (
    ANY,
    BOMB,
    DONE,
    EITHER,
    MAYBE,
    REFUSED,
    TOO_LARGE,
    HostileFile,
)
from tests.support.hostile.originals import originals

WIDTH, HEIGHT, BITS, COMPRESSION, KIND, STRIPS, SAMPLES = 256, 257, 258, 259, 262, 273, 277
ROWS, LENGTHS, PREDICTOR = 278, 279, 317
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_LENGTHS = 322, 323, 324, 325
DEFLATE = 8


def tiff(pixels: bytes, *changes: Entry, without: tuple[int, ...] = (), tail: bytes = b"") -> bytes:
    """A grey TIFF of 16×16 in one strip, with entries put in place of its own, or left out.

    The offset of a changed entry counts from the end of the directory where it is above 2³⁰.
    """
    plain = ((WIDTH, LONG, 1, 16), (HEIGHT, LONG, 1, 16), (BITS, SHORT, 1, 8))
    more = ((COMPRESSION, SHORT, 1, 1), (KIND, SHORT, 1, 1), (SAMPLES, SHORT, 1, 1))
    strip = ((STRIPS, LONG, 1, FROM_END), (ROWS, LONG, 1, 16), (LENGTHS, LONG, 1, len(pixels)))
    entries = {entry[0]: entry for entry in (*plain, *more, *strip, *changes)}
    kept = [entries[tag] for tag in sorted(entries) if tag not in without]
    end = 8 + 2 + 12 * len(kept) + 4
    placed = [
        (tag, kind, count, value - FROM_END + end if FROM_END <= value < END else value)
        for tag, kind, count, value in kept
    ]
    return directory(*placed, tail=pixels + tail)


FROM_END = 2**30
BLACK = bytes(256)


def attacks() -> Iterator[HostileFile]:
    behind = FROM_END + len(BLACK)
    yield HostileFile("tiff/plain.tif", tiff(BLACK), DONE)
    yield HostileFile(
        "tiff/huge.tif", tiff(BLACK, (WIDTH, LONG, 1, END), (HEIGHT, LONG, 1, END)), TOO_LARGE
    )
    yield HostileFile("tiff/long.tif", tiff(BLACK, (HEIGHT, LONG, 1, 2_000_000)), TOO_LARGE)
    yield HostileFile("tiff/no-width.tif", tiff(BLACK, (WIDTH, LONG, 1, 0)), REFUSED)
    yield HostileFile("tiff/width-text.tif", tiff(BLACK, (WIDTH, 2, 4, 0x41414141)), REFUSED)
    for tag in (WIDTH, HEIGHT, BITS, COMPRESSION, KIND, STRIPS, SAMPLES, ROWS, LENGTHS):
        yield HostileFile(f"tiff/without-{tag}.tif", tiff(BLACK, without=(tag,)), MAYBE)
        yield HostileFile(f"tiff/most-{tag}.tif", tiff(BLACK, (tag, LONG, 1, END)), ANY)
        yield HostileFile(f"tiff/count-{tag}.tif", tiff(BLACK, (tag, LONG, END, 8)), ANY)
    for number in (
        0,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        99,
        32_773,
        34_661,
        34_712,
        34_887,
        34_925,
        50_000,
        50_001,
    ):
        data = tiff(bytes(range(256)), (COMPRESSION, SHORT, 1, number))
        yield HostileFile(f"tiff/compression-{number}.tif", data, MAYBE)
    for number in (0, 2, 3, 4, 5, 6, 8, 9, 32_803, 65_535):
        yield HostileFile(f"tiff/kind-{number}.tif", tiff(BLACK, (KIND, SHORT, 1, number)), MAYBE)
    for samples in (0, 2, 3, 4, 5, 255, 65_535):
        data = tiff(bytes(2_000), (SAMPLES, SHORT, 1, samples))
        yield HostileFile(f"tiff/samples-{samples}.tif", data, ANY)
    for bits in (0, 1, 2, 3, 4, 12, 16, 32, 64, 65_535):
        data = tiff(bytes(4_000), (BITS, SHORT, 1, bits))
        yield HostileFile(f"tiff/bits-{bits}.tif", data, ANY)
    shorts = struct.pack("<H", 8) * 300_000
    yield HostileFile(
        "tiff/bits.tif", tiff(BLACK, (BITS, SHORT, 300_000, behind), tail=shorts), BOMB
    )
    longs = struct.pack("<I", 1) * 300_000
    strips = ((HEIGHT, LONG, 1, 300_000), (ROWS, LONG, 1, 1), (STRIPS, LONG, 300_000, behind))
    yield HostileFile("tiff/strips.tif", tiff(BLACK, *strips, tail=longs), BOMB)
    pairs = struct.pack("<II", 3, 1) * 20_000
    resolution = (282, RATIONAL, 20_000, behind)
    yield HostileFile("tiff/rationals.tif", tiff(BLACK, resolution, tail=pairs), BOMB)
    yield HostileFile(
        "tiff/entries.tif",
        directory(*((n, BYTE, 9, 0) for n in range(60_000))),
        MAYBE,
    )
    entry = struct.pack("<HHQQ", WIDTH, LONG, 1, 1)
    head = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16)
    yield HostileFile(
        "tiff/big-entries.tif", head + struct.pack("<Q", 66_000) + entry * 66_000, BOMB
    )
    yield HostileFile(
        "tiff/big-count.tif", head + struct.pack("<Q", 2**64 - 1) + entry * 9, REFUSED
    )
    yield HostileFile("tiff/big-far.tif", b"II+\0\x08\0\0\0" + b"\xff" * 8, REFUSED)
    yield from _tiles()
    yield from _pages()


def _tiles() -> Iterator[HostileFile]:
    bomb = zlib.compress(bytes(20_000_000), 9)
    for side, ends in ((40_000, BOMB), (2**31, BOMB), (4_000, EITHER), (0, REFUSED), (7, EITHER)):
        tiles = (
            (COMPRESSION, SHORT, 1, DEFLATE),
            *((TILE_WIDTH, LONG, 1, side), (TILE_HEIGHT, LONG, 1, side)),
            *((TILES, LONG, 1, FROM_END), (TILE_LENGTHS, LONG, 1, len(bomb))),
        )
        data = tiff(bomb, *tiles, without=(STRIPS, ROWS, LENGTHS))
        yield HostileFile(f"tiff/tile-{side}.tif", data, ends)
    strip = ((COMPRESSION, SHORT, 1, DEFLATE), (ROWS, LONG, 1, END))
    yield HostileFile("tiff/strip-bomb.tif", tiff(bomb, *strip), EITHER)


def _pages() -> Iterator[HostileFile]:
    data = originals()["pages.tif"]
    first = struct.unpack_from("<I", data, 4)[0]
    place = first + 2 + 12 * struct.unpack_from("<H", data, first)[0]
    for name, following in (("itself", first), ("far", END), ("header", 0), ("odd", 3)):
        linked = data[:place] + struct.pack("<I", following) + data[place + 4 :]
        yield HostileFile(f"tiff/pages-{name}.tif", linked, DONE)
    behind = FROM_END + len(BLACK)
    yield HostileFile("tiff/pages-shared.tif", chain(2_000, 2, tail=bytes(10**6)), DONE)
    yield HostileFile("tiff/pages-overlapping.tif", chain(3_000, 60_000), DONE)
    loop = (330, LONG, 4_000, behind)
    reduced = (254, LONG, 1, 1)
    yield HostileFile(
        "tiff/sub-directories.tif",
        tiff(BLACK, reduced, loop, tail=struct.pack("<I", 8) * 4_000),
        DONE,
    )


def chain(pages: int, entries: int, tail: bytes = b"") -> bytes:
    """Return a TIFF with a sound first page and others that overlap or share the bytes of `tail`.

    Each begins 30 bytes behind the one before it and has as many entries.
    """
    first = tiff(BLACK)
    (count,) = struct.unpack_from("<H", first, 8)
    start = len(first)
    table = bytearray(30 * pages + 12 * entries + 6)
    for number in range(pages):
        place = 30 * number
        profile = (34_675, BYTE, len(tail), start + len(table))
        struct.pack_into("<HHHII", table, place, entries, *profile)
        following = start + place + 30 if number + 1 < pages else 0
        struct.pack_into("<I", table, place + 2 + 12 * entries, following)
    linked = first[: 10 + 12 * count] + struct.pack("<I", start) + first[14 + 12 * count :]
    return linked + bytes(table) + tail
