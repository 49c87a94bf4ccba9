"""Around a first frame that is smaller than the canvas is nothing."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support.several_pictures import PALETTE, Frame, decoded, flat, gif, notices, saved


def webp(*frames: Frame) -> bytes:
    """Return an animation of 20×10 that says it has no alpha channel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

    def numbers(*values: int) -> bytes:
        return b"".join(value.to_bytes(3, "little") for value in values)

    parts = [chunk(b"VP8X", b"\2\0\0\0" + numbers(19, 9)), chunk(b"ANIM", b"\0\0\xff\xff\0\0")]
    for left, upper, width, height, colour in frames:
        red, green, blue = PALETTE[3 * colour : 3 * colour + 3]
        still = saved(flat((red, green, blue), (width, height)), "WEBP", lossless=True)[12:]
        place = numbers(left // 2, upper // 2, width - 1, height - 1, 100)
        parts.append(chunk(b"ANMF", place + b"\0" + still))
    return b"RIFF" + struct.pack("<I", 4 + sum(map(len, parts))) + b"WEBP" + b"".join(parts)


@pytest.mark.parametrize("make", [gif, webp])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_around_a_first_frame_that_is_smaller_than_the_canvas_is_nothing(
    make: Callable[..., bytes], depth: Any
) -> None:
    picture = decoded(make((4, 2, 8, 4, 1), (0, 0, 20, 10, 0)), depth=depth)
    expected = np.zeros((10, 20), depth)
    expected[2:6, 4:12] = np.iinfo(depth).max
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, expected)
    assert (picture.rgb[2:6, 4:12] == np.asarray((0, np.iinfo(depth).max, 0), depth)).all()
    assert notices(picture) == ["several pictures: number 1 of 2 is taken"]
    whole = decoded(make((0, 0, 20, 10, 1)), depth=depth)
    assert whole.alpha is None


def test_a_transparent_colour_counts_within_the_first_frame_too() -> None:
    picture = decoded(gif((4, 2, 8, 4, 3), transparent=3))
    assert picture.alpha is not None
    assert not picture.alpha.any()
    picture = decoded(gif((4, 2, 8, 4, 1), transparent=3))
    assert picture.alpha is not None
    assert picture.alpha.sum() == 255 * 8 * 4
