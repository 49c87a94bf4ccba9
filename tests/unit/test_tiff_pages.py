"""Of a TIFF with several pages the first picture is taken that is no thumbnail and no mask."""

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tests.support.hostile.exif import END, LONG
from tests.support.hostile.originals import originals
from tests.support.hostile.tiff import tiff
from tests.support.several_pictures import (
    decoded,
    notices,
)
from worker.errors import CorruptImage, ImageTooLarge, UnsupportedImage
from worker.imaging.decode import open_image


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
