"""PNG, WebP, GIF and TIFF with endless, compressed or contradictory metadata."""

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from tests.support.hostile.boxes import riff
from tests.support.hostile.exif import Entry, directory
from tests.support.hostile.file import ANY, BOMB, DONE, EITHER, HostileFile
from tests.support.hostile.gif_bmp import frame, gif
from tests.support.hostile.originals import originals
from tests.support.hostile.png import RGB, chunk, png
from tests.support.hostile.tiff import BLACK, FROM_END, tiff

MIB = 2**20
KEYWORDS = (b"transparency", b"icc_profile", b"exif", b"dpi", b"gamma", b"duration")
"""Names under which Pillow keeps what other chunks say."""


def pngs() -> Iterator[HostileFile]:
    make, one = HostileFile, partial(png, 9, 9)
    text = b"a" * 18 * MIB
    yield make("chunks/itxt-18-mib.png", one(chunk(b"iTXt", b"b\0\0\0\0\0" + text)), BOMB)
    xmp = b"XML:com.adobe.xmp\0"
    yield make(
        "chunks/xmp-5-mib.png", one(chunk(b"iTXt", xmp + b"\0\0\0\0" + text[: 5 * MIB])), DONE
    )
    behind = png(9, 9)[:-12] + chunk(b"tEXt", b"a\0" + text[::12]) + chunk(b"IEND", b"")
    yield make("chunks/text-behind.png", behind, DONE)
    yield make("chunks/private.png", one(chunk(b"prVt", text[::12])), DONE)
    yield make("chunks/exif-2-mib.png", one(chunk(b"eXIf", b"II*\0" + text[: 2 * MIB])), BOMB)
    inflated = zlib.compress(b"a" * 4_000_000, 9)
    texts = (chunk(b"zTXt", b"a%d\0\0" % number + inflated) for number in range(60))
    yield make("chunks/ztxt-240-mb.png", one(*texts), DONE)
    wide = zlib.compress(("a" * 3_900_000 + "\U0001f600").encode(), 9)
    texts = (chunk(b"iTXt", b"a%d\0\1\0\0\0" % number + wide) for number in range(60))
    yield make("chunks/itxt-wide.png", one(*texts), DONE)
    same = chunk(b"iTXt", xmp + b"\1\0\0\0" + wide)
    yield make("chunks/xmp-wide.png", one(same * 9), DONE)
    lines = zlib.compress(b"\n00" * 1_300_000, 9)
    raw = chunk(b"zTXt", b"Raw profile type exif\0\0" + lines)
    yield make("chunks/raw-exif-lines.png", one(raw), BOMB)
    palette = b"a\0\x08" + b"123456" * 5
    yield make("chunks/palettes.png", one(chunk(b"sPLT", palette) * 10_000), DONE)
    for kind, start in ((b"tEXt", b""), (b"zTXt", b"\0"), (b"iTXt", b"\0\0\0\0")):
        for keyword in KEYWORDS:
            value = zlib.compress(b"nonsense") if kind == b"zTXt" else b"nonsense"
            data = one(chunk(kind, keyword + b"\0" + start + value), colour=RGB)
            yield make(f"chunks/{kind.decode()}-{keyword.decode()}.png", data, DONE)


def exifs() -> Iterator[HostileFile]:
    """Yield EXIF with as many entries as there can be, each of them wrong in another way."""
    shapes: dict[str, Callable[[int], Entry]] = {
        "overlap": lambda tag: (tag, 7, 60_000, 0),
        "far": lambda tag: (tag, 7, 60_000, 2**32 - 1 - tag),
        "types": lambda tag: (tag, tag % 20, 9, 8),
        "long": lambda tag: (tag, 4, 60_000, tag),
        "same": lambda tag: (0x0112, 3, 2 + tag % 2, 6),
    }
    for name, shape in shapes.items():
        block = directory(*(shape(tag) for tag in range(65_535)))
        for suffix, data in (
            ("png", png(9, 9, chunk(b"eXIf", block))),
            ("webp", webp((b"EXIF", block))),
        ):
            yield HostileFile(f"exif/65535-{name}.{suffix}", data, EITHER)


def webps() -> Iterator[HostileFile]:
    sizes = {b"EXIF": 2, b"XMP ": 18, b"ICCP": 6, b"junk": 6}
    for kind, size in sizes.items():
        data = webp((kind, bytes(size * MIB)))
        name = kind.decode().strip().lower()
        ends = BOMB if kind in (b"EXIF", b"XMP ") else DONE
        yield HostileFile(f"webp/{name}-{size}-mib.webp", data, ends)
    many = ((b"XMP ", bytes(9)) for _ in range(100_000))
    yield HostileFile("webp/xmps.webp", webp(*many), EITHER)


def gifs() -> Iterator[HostileFile]:
    one = frame(1, 1)
    block = b"\xff" + b"a" * 255
    comment = b"!\xfe" + block * 74_000 + b"\0"
    yield HostileFile("gif/comment-18-mib.gif", gif(1, 1, comment, one), BOMB)
    short = b"!\xfe" + block * 2_000 + b"\0"
    yield HostileFile("gif/comment-half-mib.gif", gif(1, 1, short, one), DONE)
    extension = b"!\xff\x0bXMP DataXMP" + block * 8_000 + b"\0"
    yield HostileFile("gif/application.gif", gif(1, 1, extension, one), DONE)
    yield HostileFile("gif/behind.gif", gif(1, 1, one, comment[: 2 * MIB]), DONE)


def tiffs() -> Iterator[HostileFile]:
    size, place = 2_000_000, FROM_END + len(BLACK)
    for name, tag in {"8bim": 34377, "layers": 37724, "xmp": 700, "icc": 34675}.items():
        data = tiff(BLACK, (tag, 7, size, place), tail=bytes(size))
        yield HostileFile(f"tiff/{name}-large.tif", data, DONE)
    shared = ((40_000 + number, 7, size, place) for number in range(60))
    yield HostileFile("tiff/tags-share.tif", tiff(BLACK, *shared, tail=bytes(size)), BOMB)
    plain = originals()["plain.tif"]
    again = struct.pack("<HHII", 34675, 7, len(plain), 0) * 60_000
    start = struct.unpack_from("<I", plain, 4)[0]
    count = struct.unpack_from("<H", plain, start)[0]
    entries = plain[start + 2 : start + 2 + 12 * count]
    moved = struct.pack("<H", count + 60_000) + entries + again + bytes(4)
    data = plain[:4] + struct.pack("<I", len(plain)) + plain[8:] + moved
    yield HostileFile("tiff/profile-again.tif", data, ANY)


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return the original WebP with chunks behind its pixels."""
    data = originals()["lossless.webp"]
    extended = b"\x3c\0\0\0" + struct.pack("<I", 63)[:3] + struct.pack("<I", 47)[:3]
    length = struct.unpack_from("<I", data, 16)[0]
    pixels = data[20 : 20 + length]
    kind = data[12:16]
    if kind == b"VP8X":
        raise ValueError("expected a plain lossless WebP, found an extended one")
    return riff((b"VP8X", extended), (kind, pixels), *chunks)
