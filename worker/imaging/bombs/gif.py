"""GIF: countless blocks and endless comments before the first frame.

Source: https://www.w3.org/Graphics/GIF/spec-gif89a.txt, appendix B.
"""

from typing import Final

from worker.errors import DecompressionBomb
from worker.imaging.bombs.metadata import check_metadata

_MAX_BLOCKS: Final = 200_000
"""Blocks of up to 255 bytes, and stray bytes: Pillow skips each by itself."""
_HEADER_BYTES, _FLAGS_OFFSET = 13, 10
_EXTENSION, _FRAME, _TRAILER = b"!", b",", b";"
_COMMENT: Final = 0xFE


def check_blocks(data: bytes) -> None:
    """Raise `DecompressionBomb` for too many blocks or comments before the first frame."""
    position = _HEADER_BYTES
    if len(data) > _FLAGS_OFFSET and data[_FLAGS_OFFSET] & 128:
        position += 6 << (data[_FLAGS_OFFSET] & 7)
    in_extension = in_comment = False
    comment_bytes = 0
    for _ in range(_MAX_BLOCKS):
        if position >= len(data):
            return
        if in_extension:
            in_extension = data[position] > 0
            comment_bytes += in_comment * data[position]
            check_metadata("GIF", exif=0, total=comment_bytes)
            position += 1 + data[position]
            continue
        kind = data[position : position + 1]
        if kind in (_FRAME, _TRAILER):
            return
        in_extension = kind == _EXTENSION
        in_comment = in_extension and data[position + 1 : position + 2] == bytes((_COMMENT,))
        position += 2 if in_extension else 1
    raise DecompressionBomb(
        f"GIF: expected the first frame after at most {_MAX_BLOCKS:,} blocks, found more"
    )
