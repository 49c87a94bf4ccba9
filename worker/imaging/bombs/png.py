"""PNG: countless chunks, endless metadata, and compressed texts and profiles.

Source: https://www.w3.org/TR/png-3/, chapters 5 and 11.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from worker.errors import DecompressionBomb
from worker.imaging.bombs.metadata import check_metadata

_SIGNATURE_BYTES: Final = 8
_MAX_CHUNKS: Final = 250_000
"""These take one second. Encoders write chunks of 8 KiB, so that 2 GB fit."""
_MAX_COMPRESSED: Final = 250
"""Texts and profiles; Pillow inflates each up to its limit, and discards the broken ones."""
_PIXELS: Final = frozenset({b"IDAT", b"fdAT"})
"""Chunks that a decoder reads bit by bit; it reads all others whole."""
_COMPRESSED: Final = frozenset({b"iCCP", b"zTXt", b"iTXt"})


def check_chunks(data: bytes) -> None:
    """Raise `DecompressionBomb` if a PNG has more chunks or metadata than can be read cheaply."""
    compressed = exif = total = 0
    for count, (kind, body, length) in enumerate(chunks(data), 1):
        if kind == b"IEND":
            return
        if count > _MAX_CHUNKS:
            raise DecompressionBomb(f"PNG: expected at most {_MAX_CHUNKS:,} chunks, found more")
        compressed += kind in _COMPRESSED
        if compressed > _MAX_COMPRESSED:
            raise DecompressionBomb(
                f"PNG: expected at most {_MAX_COMPRESSED} texts and profiles, found more"
            )
        if kind not in _PIXELS:
            present = min(length, len(data) - body)
            total += present
            exif += present if kind == b"eXIf" else 0
            check_metadata("PNG", exif=exif, total=total)


def find_chunk(data: bytes, wanted: bytes) -> bytes | None:
    """Return the body of the first chunk of a type with the right checksum.

    `data` is a PNG that `check_chunks` let pass.
    """
    bodies = (
        data[body : body + size]
        for kind, body, size in chunks(data)
        if kind == wanted and has_right_checksum(data, body, size)
    )
    return next(bodies, None)


def has_right_checksum(data: bytes, body: int, length: int) -> bool:
    """Return whether a chunk, which `chunks` yielded, is complete and its checksum right."""
    end = body + length
    return zlib.crc32(memoryview(data)[body - 4 : end]).to_bytes(4, "big") == data[end : end + 4]


def with_pixels_only(data: bytes, key_bytes: int | None) -> bytes:
    """Return a copy of a PNG with its critical chunks, and with its tRNS.

    It is the first one of `key_bytes` bytes with the right checksum; None keeps none.
    """
    parts, has_key = [data[:_SIGNATURE_BYTES]], key_bytes is None
    for kind, body, length in chunks(data):
        is_key = kind == b"tRNS" and not has_key and length == key_bytes
        is_key = is_key and has_right_checksum(data, body, length)
        has_key |= is_key
        if is_key or not kind[0] & 32:
            parts.append(data[body - 8 : body + length + 4])
    return b"".join(parts)


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each chunk, the offset of its body, and the length that it states."""
    position = _SIGNATURE_BYTES
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, position + 8, length
        position += 12 + length
