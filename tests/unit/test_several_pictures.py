"""Of a file with several pictures the right one is taken, and a warning says so."""

import io
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pillow_heif
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.support.hostile.exif import END, LONG
from tests.support.hostile.originals import originals
from tests.support.hostile.png import chunk
from tests.support.hostile.tiff import tiff
from worker.errors import CorruptImage, ImageTooLarge, UnsupportedImage
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


class Pages:
    """A TIFF in the making, with pages of one grey level each."""

    def __init__(self, **options: Any) -> None:
        self.buffer = io.BytesIO()
        self.writer = tifffile.TiffWriter(self.buffer, **options)

    def add(self, level: int, side: int = 48, *, dtype: Any = np.uint8, **options: Any) -> "Pages":
        # A mask has one bit per pixel.
        kind = np.bool_ if options.get("subfiletype", 0) & MASK else dtype
        pixels: NDArray[Any] = np.full((side, side), level, kind)
        self.writer.write(pixels, photometric="minisblack", **options)
        return self

    def data(self) -> bytes:
        self.writer.close()
        return self.buffer.getvalue()


REDUCED, MASK = 1, 4


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("kinds", "taken", "count"),
    [
        ([0], 0, 1),
        ([0, REDUCED, REDUCED], 0, 1),
        ([REDUCED, 0], 1, 1),
        ([REDUCED, REDUCED, 0, 0], 2, 2),
        ([REDUCED, 0, REDUCED, 2, 0], 1, 3),
        ([2, 2, 2], 0, 3),
        ([MASK, 0], 1, 1),
        ([0, MASK, REDUCED | MASK], 0, 1),
        ([REDUCED | 2, MASK, 2], 2, 1),
    ],
)
def test_the_first_page_that_is_neither_a_thumbnail_nor_a_mask_is_taken(
    kinds: Sequence[int], taken: int, count: int, dtype: Any, options: dict[str, Any]
) -> None:
    pages = Pages(**options)
    scale = np.iinfo(dtype).max // 255
    for number, kind in enumerate(kinds):
        pages.add((number + 1) * scale, 16 + number, dtype=dtype, subfiletype=kind)
    data = pages.data()
    for depth in (np.uint8, np.uint16):
        picture = decoded(data, depth=depth)
        assert picture.size == (16 + taken, 16 + taken)
        assert (picture.rgb == (taken + 1) * np.iinfo(depth).max // 255).all()
        expected = [f"several pictures: number 1 of {count} is taken"] if count > 1 else []
        assert notices(picture) == expected
        assert any("mask ignored" in text for text in picture.warnings) == any(
            kind & MASK for kind in kinds
        )


def test_the_old_tag_marks_a_thumbnail_too() -> None:
    old = [(255, "H", 1, 2, True)]
    data = Pages().add(9, 16, extratags=old).add(200).data()
    assert (decoded(data).rgb == 200).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_among_sub_directories_is_taken_where_the_page_is_a_thumbnail(dtype: Any) -> None:
    pages = Pages().add(1, 16, dtype=dtype, subfiletype=REDUCED, subifds=2)
    pages.add(2, 24, dtype=dtype, subfiletype=REDUCED).add(3, 48, dtype=dtype, subfiletype=0)
    picture = decoded(pages.data())
    assert (picture.size, notices(picture)) == ((48, 48), [])
    assert (picture.rgb == (3 if dtype is np.uint8 else 0)).all()


def test_thumbnails_among_sub_directories_are_not_counted() -> None:
    pages = Pages().add(7, subifds=2)
    data = pages.add(8, 24, subfiletype=REDUCED).add(9, 12, subfiletype=REDUCED).data()
    picture = decoded(data)
    assert (picture.size, picture.warnings) == ((48, 48), ())


def test_missing_sub_directories_matter_only_where_the_picture_is_in_one() -> None:
    far = (330, LONG, 3, END)
    assert decoded(tiff(bytes(256), far)).size == (16, 16)
    near = (330, LONG, 1, 2**31)
    picture = decoded(tiff(bytes(256), far, (254, LONG, 1, REDUCED)))
    assert picture.warnings[0].startswith("thumbnail: ")
    with pytest.raises(CorruptImage):
        decoded(tiff(bytes(256), near, (254, LONG, 1, REDUCED)))


def test_directories_of_many_entries_are_not_all_read() -> None:
    """Each begins within the one before it and has 60,000 entries: together 600 million."""
    whole = bytearray(Pages().add(7).data())
    (first,) = struct.unpack_from("<I", whole, 4)
    (entries,) = struct.unpack_from("<H", whole, first)
    start = len(whole)
    struct.pack_into("<I", whole, first + 2 + 12 * entries, start)
    stated = 60_000
    table = bytearray(12 * (stated + 10_000) + 6)
    for number in range(10_000):
        place = 12 * number
        struct.pack_into("<H", table, place, stated)
        struct.pack_into("<I", table, place + 2 + 12 * stated, start + place + 12)
    picture = decoded(bytes(whole + table))
    assert (picture.rgb == 7).all()


def test_a_raw_picture_is_refused_by_name_instead_of_its_thumbnail() -> None:
    pages = Pages().add(1, 16, subfiletype=REDUCED, subifds=1)
    pages.writer.write(np.zeros((48, 48), np.uint16), photometric="cfa", subfiletype=0)
    with pytest.raises(UnsupportedImage, match="camera raw"):
        decoded(pages.data())


def test_of_thumbnails_alone_the_largest_is_taken() -> None:
    data = Pages().add(1, 16, subfiletype=REDUCED).add(2, 32, subfiletype=REDUCED).data()
    picture = decoded(data)
    assert (picture.rgb == 2).all()
    assert picture.warnings == (
        "thumbnail: the file has only pictures marked as reduced; 32×32 taken",
    )


def test_the_header_is_that_of_the_page_that_is_taken() -> None:
    pages = Pages().add(1, 16, subfiletype=REDUCED)
    pages.writer.write(
        np.full((48, 48, 4), 2**15, np.uint16), photometric="rgb", extrasamples=["unassalpha"]
    )
    data = pages.data()
    header = open_image(data, max_pixels=48 * 48).header
    assert (header.size, header.bits, header.has_transparency) == ((48, 48), 16, True)
    with pytest.raises(ImageTooLarge, match="48×48"):
        open_image(data, max_pixels=48 * 48 - 1)
    large_second = Pages().add(1, 16).add(2, 48).data()
    assert open_image(large_second, max_pixels=16 * 16).decode().size == (16, 16)


@pytest.mark.parametrize("following", [8, 0, 1, 3, 2**32 - 1, 400])
def test_pages_in_a_loop_or_beyond_the_file_end_the_chain(following: int) -> None:
    data = originals()["pages.tif"]
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    place = first + 2 + 12 * entries
    linked = data[:place] + struct.pack("<I", following) + data[place + 4 :]
    assert (decoded(linked).rgb == decoded(data).rgb).all()


def test_a_broken_page_is_not_replaced_by_the_thumbnail_before_it() -> None:
    thumbnail = Pages().add(1, 16, subfiletype=REDUCED).data()
    (first,) = struct.unpack_from("<I", thumbnail, 4)
    (entries,) = struct.unpack_from("<H", thumbnail, first)
    place = first + 2 + 12 * entries
    cut = thumbnail[:place] + struct.pack("<I", len(thumbnail) + 9) + thumbnail[place + 4 :]
    with pytest.raises(CorruptImage):
        decoded(cut)


def test_countless_pages_are_counted_up_to_a_limit() -> None:
    """Directories that follow each other, of 30 bytes each."""
    whole = bytearray(Pages().add(7).data())
    (first,) = struct.unpack_from("<I", whole, 4)
    (entries,) = struct.unpack_from("<H", whole, first)
    start = len(whole)
    struct.pack_into("<I", whole, first + 2 + 12 * entries, start)
    fields = struct.pack("<HHHII", 2, 256, 4, 1, 4) + struct.pack("<HHII", 257, 4, 1, 4)
    pages = [fields + struct.pack("<I", start + 30 * (number + 1)) for number in range(30_000)]
    picture = decoded(bytes(whole) + b"".join(pages))
    assert (picture.rgb == 7).all()
    assert notices(picture) == ["several pictures: number 1 of at least 10,000 is taken"]


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


def test_a_gif_of_countless_blocks_is_counted_up_to_a_limit() -> None:
    first = gif((0, 0, 20, 10, 1))[:-1]
    empty = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2"
    data = first + empty + b"\1\0" * 1_200_000 + b"\0" + first[23:] + b";"
    assert notices(decoded(data)) == ["several pictures: number 1 of at least 2 is taken"]
