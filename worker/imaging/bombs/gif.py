"""GIF: countless blocks in front of the first frame.

Source: https://www.w3.org/Graphics/GIF/spec-gif89a.txt, appendix B.
"""

from typing import Final

from worker.errors import DecompressionBomb

_MOST_STEPS: Final = 200_000
"""Blocks of up to 255 bytes, and stray bytes, which Pillow passes over one by one."""
_HEADER, _FLAGS = 13, 10
_EXTENSION, _FRAME, _TRAILER = b"!", b",", b";"


def check_blocks(data: bytes) -> None:
    """Raise `DecompressionBomb` where Pillow would read on and on before the first frame."""
    place = _HEADER
    if len(data) > _FLAGS and data[_FLAGS] & 128:
        place += 6 << (data[_FLAGS] & 7)
    inside = False
    for _ in range(_MOST_STEPS):
        if place >= len(data):
            return
        if inside:
            inside = data[place] > 0
            place += 1 + data[place]
            continue
        kind = data[place : place + 1]
        if kind in (_FRAME, _TRAILER):
            return
        inside = kind == _EXTENSION
        place += 2 if inside else 1
    raise DecompressionBomb(
        f"GIF: expected the first frame behind at most {_MOST_STEPS:,} blocks, found more"
    )
