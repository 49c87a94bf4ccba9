"""Of a file with several pictures the right one is taken, and a warning says so."""

import io
import struct
from collections.abc import Sequence

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from tests.support.hostile.originals import originals
from tests.support.hostile.png import chunk
from tests.support.several_pictures import (
    BLUE,
    GREEN,
    RED,
    SIZE,
    animation,
    decoded,
    flat,
    gif,
    is_flat,
    notices,
    saved,
)
from worker.imaging.decode import open_image


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "AVIF", "TIFF", "MPO"])
def test_the_first_of_several_frames_is_taken_with_a_warning(image_format: str) -> None:
    data = animation(image_format, flat(RED), flat(GREEN), flat(BLUE))
    for depth in (np.uint8, np.uint16):
        picture = open_image(data, max_pixels=10**6).decode(depth=depth)
        assert notices(picture) == ["several pictures: number 1 of 3 is taken"]
    assert is_flat(decoded(data), RED)
    single = saved(flat(RED), "JPEG" if image_format == "MPO" else image_format)
    assert decoded(single).warnings == ()


def test_the_still_picture_beside_an_animation_is_taken() -> None:
    frames = (flat(RED), flat(GREEN), flat(BLUE))
    picture = decoded(animation("PNG", *frames, default_image=True))
    assert is_flat(picture, RED)
    assert notices(picture) == ["several pictures: number 1 of 3 is taken"]


def test_an_animation_of_one_frame_is_one_picture() -> None:
    data = originals()["rgb.png"]
    control = chunk(b"acTL", struct.pack(">II", 1, 0))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, *SIZE, 0, 0, 1, 10, 0, 0))
    still = data.index(b"IDAT") - 4
    assert notices(decoded(data[:still] + control + frame + data[still:])) == []
    # A text that has the name of a chunk in it.
    text = chunk(b"tEXt", b"Comment\0IDAT")
    assert notices(decoded(data[:still] + text + control + frame + data[still:])) == []


@pytest.mark.parametrize("primary", [0, 1, 2])
def test_the_primary_picture_of_a_heic_is_taken(primary: int) -> None:
    pictures = ((RED, SIZE), (GREEN, (80, 64)), (BLUE, (32, 32)))
    first, *others = (flat(colour, size) for colour, size in pictures)
    container = pillow_heif.from_pillow(first)
    for other in others:
        container.add_from_pillow(other)
    buffer = io.BytesIO()
    container.save(buffer, primary_index=primary, quality=95)
    picture = decoded(buffer.getvalue())
    colour, size = pictures[primary]
    assert is_flat(picture, colour, size)
    assert notices(picture) == [f"several pictures: number {primary + 1} of 3 is taken"]


def test_thumbnails_of_heic_and_jpeg_are_not_pictures() -> None:
    heic = pillow_heif.from_pillow(flat(RED, (256, 256)))
    buffer = io.BytesIO()
    heic.save(buffer, thumbnails=[64], quality=95)
    assert decoded(buffer.getvalue()).warnings == ()
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"comment"
    thumbnail = saved(flat(GREEN, (16, 12)), "JPEG")
    block = exif.tobytes() + thumbnail
    assert decoded(saved(flat(RED), "JPEG", exif=block)).warnings == ()


def mpo_of_types(*types: int, metadata: bytes = b"") -> bytes:
    """Return an MPO whose pictures have these types, and metadata in the last one."""
    data = bytearray(animation("MPO", *[flat(RED)] * len(types)))
    # Behind a directory of three entries.
    attribute = data.index(b"II*\0") + 8 + 2 + 3 * 12 + 4
    for number, kind in enumerate(types):
        struct.pack_into("<I", data, attribute + 16 * number, kind)
    return bytes(data) + metadata


@pytest.mark.parametrize(
    ("types", "metadata", "count"),
    [
        ((0x030000, 0), b"", 2),
        ((0x030000, 0x020002), b"", 2),
        ((0x020003, 0x020003, 0x020003), b"", 3),
        ((0x030000, 0x010001, 0x010002), b"", 1),
        ((0x030000, 0), b"urn:com:apple:photo:2020:aux:hdrgainmap", 1),
        ((0x030000, 0), b'hdrgm:Version="1.0"', 1),
        ((0x030000, 0x020002, 0), b'hdrgm:Version="1.0"', 2),
    ],
)
def test_views_of_an_mpo_count_and_its_thumbnails_and_gain_maps_do_not(
    types: Sequence[int], metadata: bytes, count: int
) -> None:
    picture = decoded(mpo_of_types(*types, metadata=metadata))
    expected = [f"several pictures: number 1 of {count} is taken"] if count > 1 else []
    assert (picture.format, notices(picture)) == ("JPEG", expected)


def test_frames_and_blocks_of_a_gif_are_counted_up_to_a_limit() -> None:
    first = gif((0, 0, 20, 10, 1))[:-1]
    frame = first[25:]
    empty = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2"
    many_blocks = first + empty + b"\1\0" * 200_000 + b"\0" + frame + b";"
    assert notices(decoded(many_blocks)) == ["several pictures: number 1 of at least 2 is taken"]
    for count, words in ((9_999, "9,999"), (10_001, "at least 10,000")):
        data = first + frame * (count - 1) + b";"
        assert notices(decoded(data)) == [f"several pictures: number 1 of {words} is taken"]
