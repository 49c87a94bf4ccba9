"""Files with several pictures of one colour each, and what is checked about them."""

import io
import struct
from typing import Any

import numpy as np
from PIL import Image

from worker.imaging.decode import Picture, open_image

SIZE = (64, 48)
RED, GREEN, BLUE = (200, 10, 10), (10, 200, 10), (10, 10, 200)


def decoded(data: bytes, **options: Any) -> Picture:
    return open_image(data, max_pixels=10**6).decode(**options)


def flat(colour: tuple[int, int, int], size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.new("RGB", size, colour)


def saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def animation(image_format: str, *frames: Image.Image, **options: Any) -> bytes:
    first, *others = frames
    return saved(first, image_format, save_all=True, append_images=others, **options)


def is_flat(picture: Picture, colour: tuple[int, int, int], size: tuple[int, int] = SIZE) -> bool:
    pixels = picture.rgb[picture.rgb.shape[0] // 2, picture.rgb.shape[1] // 2].astype(int)
    return picture.size == size and np.abs(pixels - colour).max() <= 4


def notices(picture: Picture) -> list[str]:
    return [item for item in picture.warnings if item.startswith("several pictures")]


PALETTE = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
Frame = tuple[int, int, int, int, int]
"""Left, upper, width, height and the index of the colour."""


def gif(*frames: Frame, background: int = 2, transparent: int | None = None) -> bytes:
    """Return a GIF of 20×10 without compression."""
    parts = [b"GIF89a", struct.pack("<HHBBB", 20, 10, 0xF1, background, 0), PALETTE]
    for left, upper, width, height, colour in frames:
        if transparent is not None:
            parts.append(b"!\xf9\x04\x01" + struct.pack("<HB", 5, transparent) + b"\0")
        parts.append(b"," + struct.pack("<HHHHB", left, upper, width, height, 0) + b"\2")
        # Codes of 3 bits: clear, colour, clear, colour … and the end.
        codes = [code for _ in range(width * height) for code in (4, colour)] + [5]
        number = sum(code << 3 * index for index, code in enumerate(codes))
        stream = number.to_bytes(-(-3 * len(codes) // 8), "little")
        blocks = [stream[start : start + 255] for start in range(0, len(stream), 255)]
        parts += [bytes([len(block)]) + block for block in blocks] + [b"\0"]
    return b"".join(parts) + b";"
