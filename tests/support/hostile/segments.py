"""JPEGs with endless or strange metadata before the pixels."""

import struct
from collections.abc import Iterator

from tests.support.hostile.file import BOMB, DONE, EITHER, HostileFile
from tests.support.hostile.jpeg import segment
from tests.support.hostile.originals import originals

EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
FULL = 65_533
"""The longest body of a segment."""


def flooded(marker: int, beginning: bytes, total: int, *, size: int = FULL) -> bytes:
    """Return a JPEG with segments of `size` bytes, about `total` together, before its pixels."""
    data = originals()["baseline.jpg"]
    body = beginning + bytes(size - len(beginning))
    return data[:2] + segment(marker, body) * (total // size) + data[2:]


def resources(*entries: tuple[int, bytes], claimed: int | None = None) -> bytes:
    """Return Photoshop's image resources, whose lengths may be claimed to be another."""
    return b"".join(
        b"8BIM" + struct.pack(">HHI", kind, 0, len(data) if claimed is None else claimed) + data
        for kind, data in entries
    )


def attacks() -> Iterator[HostileFile]:
    mib = 2**20
    yield HostileFile("segments/exif-2-mib.jpg", flooded(0xE1, EXIF, 2 * mib), BOMB)
    yield HostileFile("segments/exif-6-mib.jpg", flooded(0xE1, EXIF, 6 * mib), BOMB)
    yield HostileFile("segments/exif-crumbs.jpg", flooded(0xE1, EXIF, 2 * mib, size=24), BOMB)
    yield HostileFile("segments/exif-small.jpg", flooded(0xE1, EXIF, mib // 2), EITHER)
    yield HostileFile("segments/comments-18-mib.jpg", flooded(0xFE, b"", 18 * mib), BOMB)
    for marker in (*range(0xE0, 0xF0), 0xFE):
        data = flooded(marker, b"", 200_000)
        yield HostileFile(f"segments/{marker:x}.jpg", data, DONE)
    yield HostileFile("segments/xmp.jpg", flooded(0xE1, XMP, mib), DONE)
    photoshop = b"Photoshop 3.0\0"
    many = photoshop + resources(*((number, b"") for number in range(5_000)))
    yield HostileFile("segments/8bim-many.jpg", flooded(0xED, many, mib), DONE)
    large = photoshop + resources((0x0404, bytes(60_000)))
    yield HostileFile("segments/8bim-large.jpg", flooded(0xED, large, mib), DONE)
    for claimed in (0, 2**31, 2**32 - 1):
        lies = photoshop + resources((0x03ED, bytes(16)), (0x040C, bytes(99)), claimed=claimed)
        data = flooded(0xED, lies, 200_000)
        yield HostileFile(f"segments/8bim-claims-{claimed}.jpg", data, EITHER)
