"""EXIF with absurd values in every format that carries it, and the same directories as TIFFs."""

import struct
from collections.abc import Iterator, Mapping
from functools import cache

from tests.support.hostile.file import BOMB, EITHER, HostileFile
from tests.support.hostile.jpeg import segment
from tests.support.hostile.originals import originals
from tests.support.hostile.png import chunk, png

Entry = tuple[int, int, int, int]
"""Tag, type, count, and the value or its offset."""
ORIENTATION, X_RESOLUTION, EXIF, GPS, XMP = 0x0112, 282, 0x8769, 0x8825, 700
BYTE, ASCII, SHORT, LONG, RATIONAL = 1, 2, 3, 4, 5
END = 2**32 - 1


def directory(*entries: Entry, following: int = 0, order: str = "<", tail: bytes = b"") -> bytes:
    """Return a TIFF header and one directory at offset 8, followed by `tail`."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    table = b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    size = struct.pack(order + "H", len(entries))
    return (
        head
        + struct.pack(order + "I", 8)
        + size
        + table
        + struct.pack(order + "I", following)
        + tail
    )


@cache
def blocks() -> Mapping[str, bytes]:
    """Return EXIF data by a name for its defect."""
    many = 5_000
    return {
        "empty": b"",
        "header-only": b"II*\0\x08\0\0\0",
        "orientation-65535": directory((ORIENTATION, SHORT, 1, 65_535)),
        "orientation-0": directory((ORIENTATION, SHORT, 1, 0)),
        "orientation-text": directory((ORIENTATION, ASCII, 4, 0x41414141)),
        "orientation-pair": directory((ORIENTATION, SHORT, 2, 0x00060006)),
        "orientation-far": directory((ORIENTATION, SHORT, 9, END)),
        "orientation-count": directory((ORIENTATION, SHORT, END, 8)),
        "resolution-zero": directory((X_RESOLUTION, RATIONAL, 1, 26), tail=bytes(8)),
        "resolution-nan": directory((X_RESOLUTION, 12, 1, 26), tail=b"\xff" * 8),
        "resolution-text": directory((X_RESOLUTION, ASCII, 4, 0x41414141)),
        "type-0": directory((ORIENTATION, 0, 1, 6)),
        "type-65535": directory((ORIENTATION, 65_535, 1, 6)),
        "loop": directory((ORIENTATION, SHORT, 1, 6), following=8),
        "loop-inside": directory((EXIF, LONG, 1, 8), (GPS, LONG, 1, 8)),
        "next-far": directory((ORIENTATION, SHORT, 1, 6), following=END),
        "big-endian": directory((ORIENTATION, SHORT, 1, 6 << 16), order=">"),
        "count-65535": b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", ORIENTATION, 3, 1, 6) * 9,
        "overlapping": directory(*((n, 7, 60_000, 0) for n in range(1, many))),
        "same-tag": directory(*((ORIENTATION, SHORT, 1, 6),) * many),
        "xmp": directory((XMP, BYTE, 30, 26), tail=b'tiff:Orientation="9"' + bytes(20)),
        "big-tiff": b"II+\0\x08\0\0\0\x10" + bytes(7) + b"\xff" * 60,
        "text": b"<html>no EXIF</html>",
    }


def attacks() -> Iterator[HostileFile]:
    jpeg = originals()["restarts.jpg"]
    for name, block in blocks().items():
        if len(block) < 65_000:
            marked = segment(0xE1, b"Exif\0\0" + block)
            yield HostileFile(f"exif/{name}.jpg", jpeg[:2] + marked + jpeg[2:], EITHER)
        yield HostileFile(f"exif/{name}.png", png(9, 9, chunk(b"eXIf", block)), EITHER)
        yield HostileFile(f"exif/{name}.webp", _webp(block), EITHER)
        yield HostileFile(f"exif/{name}.tif", block, EITHER | BOMB | {"empty_source"})
    values = struct.pack("<II", 3, 1) * 20_000
    rationals = directory((X_RESOLUTION, RATIONAL, 20_000, 26), tail=values)
    yield HostileFile("exif/rationals.png", png(9, 9, chunk(b"eXIf", rationals)), BOMB)
    yield HostileFile("exif/rationals.webp", _webp(rationals), BOMB)
    parts = [rationals[place : place + 60_000] for place in range(0, len(rationals), 60_000)]
    marked = b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts)
    yield HostileFile("exif/rationals.jpg", jpeg[:2] + marked + jpeg[2:], BOMB)
    text = b"Raw profile type exif\0\nexif\n99999999\n" + b"4d4d002a" * 9 + b"zz"
    yield HostileFile("exif/hexadecimal.png", png(9, 9, chunk(b"tEXt", text)), EITHER)


def _webp(block: bytes) -> bytes:
    """Return the original WebP with its EXIF data replaced."""
    data = originals()["lossy.webp"]
    place = data.index(b"EXIF")
    exif = b"EXIF" + struct.pack("<I", len(block)) + block + bytes(len(block) % 2)
    body = data[12:place] + exif
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
