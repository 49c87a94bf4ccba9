"""GIF: countless blocks before the first frame.

Source: https://www.w3.org/Graphics/GIF/spec-gif89a.txt, appendix B.
"""

from typing import Final

from worker.errors import DecompressionBomb

_MAX_BLOCKS: Final = 200_000
"""Blocks of up to 255 bytes, and stray bytes: Pillow skips each by itself."""
_HEADER_BYTES, _FLAGS_OFFSET = 13, 10
_EXTENSION, _FRAME, _TRAILER = b"!", b",", b";"


def check_blocks(data: bytes) -> None:
    """Raise `DecompressionBomb` if Pillow would read too many blocks before the first frame."""
    position = _HEADER_BYTES
    if len(data) > _FLAGS_OFFSET and data[_FLAGS_OFFSET] & 128:
        position += 6 << (data[_FLAGS_OFFSET] & 7)
    in_extension = False
    for _ in range(_MAX_BLOCKS):
        if position >= len(data):
            return
        if in_extension:
            in_extension = data[position] > 0
            position += 1 + data[position]
            continue
        kind = data[position : position + 1]
        if kind in (_FRAME, _TRAILER):
            return
        in_extension = kind == _EXTENSION
        position += 2 if in_extension else 1
    raise DecompressionBomb(
        f"GIF: expected the first frame after at most {_MAX_BLOCKS:,} blocks, found more"
    )
