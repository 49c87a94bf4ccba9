"""Hand-made JPEGs: sizes, countless scans, endless headers and fragmented profiles."""

import struct
from collections.abc import Iterator

from tests.support.hostile.file import (
    BOMB,
    CORRUPT,
    DONE,
    EITHER,
    MAYBE,
    REFUSED,
    TOO_LARGE,
    UNSUPPORTED,
    HostileFile,
)
from tests.support.hostile.originals import originals

START, END = b"\xff\xd8", b"\xff\xd9"
ZEROS = 16_384
"""The blocks that the longest run in `scans` skips, in 15 zero bits."""


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def scans(side: int, count: int, *, marker: int = 0xC2) -> bytes:
    """A square progressive JPEG of three components in few bytes: its scans refine nothing.

    Each still passes over all blocks of a component, a tenth of a second for 10,000 pixels a side.
    """
    ids = (1, 2, 3)
    blocks = ((side + 7) // 8) ** 2
    frame = struct.pack(">BHHB", 8, side, side, 3) + b"".join(bytes((n, 0x11, 0)) for n in ids)
    first = b"\3" + b"".join(bytes((n, 0)) for n in ids) + b"\0\0\0"
    one_code = b"\1" + bytes(15)
    run = bytes((blocks // ZEROS + 1) * 15 // 8 + 2)
    return b"".join(
        (
            START + segment(0xDB, b"\0" + b"\1" * 64) + segment(marker, frame),
            # One code each: a difference of nothing, and a run of 2¹⁴ blocks of nothing.
            segment(0xC4, b"\x00" + one_code + b"\0") + segment(0xC4, b"\x10" + one_code + b"\xe0"),
            segment(0xDA, first) + bytes(blocks * 3 // 8 + 1),
            *(segment(0xDA, bytes((1, ids[n % 3], 0, 1, 63, 0x10))) + run for n in range(count)),
            END,
        )
    )


def sized(width: int, height: int, *, components: int = 3) -> bytes:
    """Return the original with another size in its frame header."""
    data = originals()["restarts.jpg"]
    place = data.index(b"\xff\xc0")
    frame = struct.pack(">BHHB", 8, height, width, components)
    return data[: place + 4] + frame + data[place + 10 :]


def attacks() -> Iterator[HostileFile]:
    whole, progressive = originals()["baseline.jpg"], originals()["progressive.jpg"]
    head, rest = whole[:2], whole[2:]
    yield HostileFile("jpeg/scans.jpg", scans(10_000, 60), BOMB)
    yield HostileFile("jpeg/scans-small.jpg", scans(16, 61_100), BOMB)
    yield HostileFile("jpeg/scans-allowed.jpg", scans(1_000, 30), DONE)
    yield HostileFile("jpeg/scans-sequential.jpg", scans(10_000, 60, marker=0xC1), BOMB | CORRUPT)
    yield HostileFile("jpeg/scans-arithmetic.jpg", scans(1_000, 9, marker=0xCA), EITHER)
    yield HostileFile("jpeg/segments.jpg", head + b"\xff\xfe\0\2" * 100_002 + rest, BOMB)
    yield HostileFile("jpeg/lone-markers.jpg", head + b"\xff\xd0" * 100_002 + rest, BOMB)
    yield HostileFile("jpeg/junk.jpg", head + b"\xff\xfe\0\2" + bytes(2**16 + 1) + rest, BOMB)
    yield HostileFile("jpeg/filled.jpg", head + b"\xff" * (2**16 + 1) + rest, BOMB)
    yield HostileFile("jpeg/junk-only.jpg", START + b"\xff\xe0\0\2" + bytes(9_000_000), BOMB)
    yield HostileFile("jpeg/little-junk.jpg", head + b"\xff" * 100 + rest, DONE)
    tables = segment(0xC4, b"\0" + bytes(16))
    many = progressive.replace(b"\xff\xda", tables * 30_000 + b"\xff\xda")
    yield HostileFile("jpeg/tables.jpg", many, BOMB)
    for width, height in ((65_535, 65_535), (65_500, 65_500), (60_000, 2_000)):
        yield HostileFile(f"jpeg/{width}x{height}.jpg", sized(width, height), TOO_LARGE)
    yield HostileFile("jpeg/no-width.jpg", sized(0, 9), REFUSED)
    yield HostileFile("jpeg/no-height.jpg", sized(64, 0), REFUSED)
    yield HostileFile("jpeg/larger.jpg", sized(1_600, 1_200), EITHER)
    for components in (0, 1, 2, 4, 5, 255):
        yield HostileFile(
            f"jpeg/components-{components}.jpg",
            sized(64, 48, components=components),
            MAYBE,
        )
    for marker in (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCF):
        data = whole.replace(b"\xff\xc0", bytes((0xFF, marker)))
        yield HostileFile(f"jpeg/frame-{marker:x}.jpg", data, MAYBE)
    twelve = whole.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")
    yield HostileFile("jpeg/12-bits.jpg", twelve, UNSUPPORTED)
    yield HostileFile("jpeg/two-frames.jpg", head + sized(9_000, 9_000)[2:400] + rest, EITHER)
    yield HostileFile("jpeg/profile-pieces.jpg", head + pieces(255, 9_000) + rest, DONE)
    yield HostileFile(
        "jpeg/profile-lies.jpg", head + pieces(9, 100, claimed_count=200) + rest, DONE
    )
    yield HostileFile("jpeg/profile-same.jpg", head + pieces(1, 6_000) * 300 + rest, DONE)
    for name, body in {
        "jfif": b"JFIF\0" + b"\xff" * 9,
        "adobe": b"Adobe\0" + b"\xff" * 9,
        "photoshop": b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\xff\xff\xff\xff",
        "short-icc": b"ICC_PROFILE\0",
        "mpf": b"MPF\0II*\0\x08\0\0\0\1\0\x01\xb0\4\0\1\0\0\0\xff\xff\xff\xff" + bytes(4),
        "mpf-loop": b"MPF\0II*\0\x08\0\0\0\1\0\x01\xb0\4\0\1\0\0\0\2\0\0\0\x08\0\0\0",
    }.items():
        for marker in (0xE0, 0xE2, 0xED, 0xEE):
            data = head + segment(marker, body) + rest
            yield HostileFile(f"jpeg/{name}-{marker:x}.jpg", data, EITHER)
    no_quantization = segment(0xDB, b"\0" + bytes(64))
    yield HostileFile("jpeg/no-quantization.jpg", head + no_quantization + rest, EITHER)
    full = segment(0xC4, b"\0" + b"\xff" * 16 + bytes(255 * 16))
    yield HostileFile("jpeg/full-table.jpg", head + full + rest, EITHER)


def pieces(count: int, size: int, *, claimed_count: int | None = None) -> bytes:
    """Return an ICC profile in segments, which claim that there are `claimed_count` of them."""
    return b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes((n + 1, claimed_count or count)) + bytes(size))
        for n in range(count)
    )
