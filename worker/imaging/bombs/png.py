"""PNG: countless chunks, and compressed texts and profiles that are inflated one after another.

Source: https://www.w3.org/TR/png-3/, chapters 5 and 11.
"""

import struct
from typing import Final

from worker.errors import DecompressionBomb

_SIGNATURE: Final = 8
_MOST_CHUNKS: Final = 250_000
"""One second. Encoders write 8 KiB of pixels into a chunk, so 2 GB in as many."""
_MOST_COMPRESSED: Final = 250
"""Texts and profiles; Pillow inflates each to its limit, and forgets those that then break."""
_COMPRESSED: Final = frozenset({b"iCCP", b"zTXt", b"iTXt"})


def check_chunks(data: bytes) -> None:
    """Raise `DecompressionBomb` where a PNG has more chunks than can be read in time."""
    place, compressed = _SIGNATURE, 0
    for _ in range(_MOST_CHUNKS):
        if place + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"IEND":
            return
        compressed += kind in _COMPRESSED
        if compressed > _MOST_COMPRESSED:
            raise DecompressionBomb(
                f"PNG: expected at most {_MOST_COMPRESSED} texts and profiles, found more"
            )
        place += 12 + length
    raise DecompressionBomb(f"PNG: expected at most {_MOST_CHUNKS:,} chunks, found more")
