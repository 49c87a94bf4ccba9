"""Hand-made HEIFs whose images are derived from other images many times over."""

import io
import struct
from collections.abc import Iterator

from PIL import Image

from tests.support.hostile.file import ANY, BOMB, DONE, HostileFile

TILE, DERIVED = 1, 2
"""Items."""


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, version: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24), *parts)


def derived(kind: bytes, description: bytes, *, side: int, size: int, parts: list[int]) -> bytes:
    """Return a HEIC of `size` made of items; item 1 is black and `side` × `side`."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side)).save(buffer, "HEIF", quality=10)
    whole = buffer.getvalue()
    coded = whole[whole.index(b"mdat") + 4 :]
    hvcc = _whole_box(whole, b"hvcC")
    named = b"".join(struct.pack(">H", part) for part in parts)
    sizes = [full_box(b"ispe", 0, struct.pack(">II", n, n)) for n in (side, size)]
    tables = (
        full_box(b"iinf", 0, struct.pack(">H", 2), _entry(TILE, b"hvc1"), _entry(DERIVED, kind)),
        full_box(b"iref", 0, box(b"dimg", struct.pack(">HH", DERIVED, len(parts)), named)),
        box(
            b"iprp",
            box(b"ipco", hvcc, *sizes),
            full_box(b"ipma", 0, struct.pack(">IHBBBHBB", 2, TILE, 2, 0x81, 2, DERIVED, 1, 3)),
        ),
    )
    kinds = box(b"ftyp", b"heic", bytes(4), b"mif1heic")

    def described(start: int) -> bytes:
        places = struct.pack(">HHHHII", TILE, 0, 0, 1, start, len(coded)) + struct.pack(
            ">HHHHII", DERIVED, 0, 0, 1, start + len(coded), len(description)
        )
        return full_box(
            b"meta",
            0,
            full_box(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", 0, struct.pack(">H", DERIVED)),
            full_box(b"iloc", 1, b"\x44\0", struct.pack(">H", 2), places),
            *tables,
        )

    start = len(kinds) + len(described(0)) + 8
    return kinds + described(start) + box(b"mdat", coded, description)


def grid(rows: int, *, side: int, size: int) -> bytes:
    """Return a square grid of the same tile, for an image of `size` × `size`."""
    description = struct.pack(">BBBBII", 0, 1, rows - 1, rows - 1, size, size)
    return derived(b"grid", description, side=side, size=size, parts=[TILE] * rows**2)


def attacks() -> Iterator[HostileFile]:
    yield HostileFile("heif/grid.heic", grid(3, side=64, size=192), DONE)
    yield HostileFile("heif/grid-over-and-over.heic", grid(30, side=1_000, size=64), BOMB)
    overlay = struct.pack(">BBHHHHII", 0, 1, 65_535, 0, 0, 65_535, 64, 64) + bytes(8 * 9)
    over = derived(b"iovl", overlay, side=64, size=64, parts=[TILE] * 9)
    yield HostileFile("heif/overlay.heic", over, ANY)
    itself = derived(b"iden", b"", side=64, size=64, parts=[DERIVED])
    yield HostileFile("heif/itself.heic", itself, BOMB)
    missing = derived(b"iden", b"", side=64, size=64, parts=[65_535])
    yield HostileFile("heif/missing.heic", missing, ANY)
    boxes = box(b"ftyp", b"heic", bytes(4), b"mif1heic") + box(b"free") * 30_000
    yield HostileFile("heif/boxes.heic", boxes, ANY)


def _entry(item: int, kind: bytes) -> bytes:
    return full_box(b"infe", 2, struct.pack(">HH", item, 0), kind, b"\0")


def _whole_box(data: bytes, kind: bytes) -> bytes:
    start = data.index(kind) - 4
    return data[start : start + int.from_bytes(data[start : start + 4], "big")]
