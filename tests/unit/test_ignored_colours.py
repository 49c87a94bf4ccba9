"""A colour that a file states in a way that is not read is never lost without a warning."""

import io
import struct
from typing import Any, Final

import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin
from PIL.ExifTags import IFD, Base

from tests.support.hostile.png import chunk, png
from tests.support.profiled_pictures import (
    CMYK,
    CMYK_FILES,
    GREY,
    P3,
    RGB,
    as_bmp,
    checked,
    wide,
)
from tests.support.stated_colours import saved

Extra = tuple[int, int, int, Any, bool]
"""Code, type, count, value and place of a tag, for tifffile."""
ADOBE_BY_EXIF: Final = ("colour: Adobe RGB by EXIF is ignored: expected an ICC profile",)


def test_adobe_rgb_in_exif_beside_a_profile_does_not_matter() -> None:
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[Base.ColorSpace] = 2
    assert checked(saved(Image.fromarray(RGB), "JPEG", exif=exif, icc_profile=P3)).warnings == ()


@pytest.mark.parametrize("name", ["JPEG", "PNG", "PNG16", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize(
    ("space", "index"), [(65535, "R03"), (2, None), (2, "R03"), (1, "R98"), (65535, None)]
)
def test_every_way_to_say_adobe_rgb_in_exif_is_a_warning(
    name: str, space: int, index: str | None
) -> None:
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[Base.ColorSpace] = space
    if index is not None:
        exif.get_ifd(IFD.Exif)[IFD.Interop] = {1: index}
    block = exif.tobytes()
    if name.startswith("PNG"):
        part = chunk(b"eXIf", block.removeprefix(b"Exif\0\0"))
        data = png(8, 8, part, depth=16 if name == "PNG16" else 8)
    else:
        data = saved(Image.fromarray(RGB), name, exif=block)
    is_adobe = space == 2 or index == "R03"
    assert checked(data).warnings == ADOBE_BY_EXIF * is_adobe


@pytest.mark.parametrize("space", [1, 2, 65535])
def test_adobe_rgb_in_the_exif_of_a_tiff_is_a_warning(space: int) -> None:
    place = len(with_exif_at(0))
    directory = struct.pack("<HHHIHHI", 1, 0xA001, 3, 1, space, 0, 0)
    assert checked(with_exif_at(place) + directory).warnings == ADOBE_BY_EXIF * (space == 2)


def test_broken_exif_of_a_tiff_does_not_matter() -> None:
    for place in (2**32 - 1, 1, 9):
        assert checked(with_exif_at(place)).warnings == ()


def with_exif_at(place: int) -> bytes:
    """Return a TIFF that says where its EXIF is; tifffile does not write this tag."""
    other = 34666
    data = tagged((other, 4, 1, place, True))
    found = struct.pack("<HHI", other, 4, 1)
    assert data.count(found) == 1
    return data.replace(found, struct.pack("<HHI", 34665, 4, 1))


def tagged(*tags: Extra, photometric: str = "rgb", bits: int = 8) -> bytes:
    """Return a TIFF with more tags."""
    buffer = io.BytesIO()
    pixels = (wide(RGB) if bits == 16 else RGB) if photometric == "rgb" else GREY
    tifffile.imwrite(buffer, pixels, photometric=photometric, metadata=None, extratags=tags)
    return buffer.getvalue()


def rationals(tag: int, *values: float) -> Extra:
    numbers = tuple(number for value in values for number in (round(value * 10_000), 10_000))
    return tag, 5, len(values), numbers, True


def curve(gamma: float, channels: int, bits: int = 8) -> Extra:
    light = np.rint(np.linspace(0, 1, 2**bits) ** gamma * 65535).astype(int).tolist()
    return 301, 3, channels * 2**bits, tuple(channels * light), True


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ([rationals(319, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)], None),
        ([rationals(319, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)], "PrimaryChromaticities"),
        ([rationals(318, 0.3127, 0.3290)], None),
        ([rationals(318, 0.3457, 0.3585)], "WhitePoint"),
        ([rationals(318, 0.3127)], "WhitePoint"),
        ([curve(2.2, 1)], None),
        ([curve(2.2, 3)], None),
        ([curve(1.8, 3)], "TransferFunction"),
        ([curve(1.0, 1)], "TransferFunction"),
        ([(301, 3, 5, (0, 1, 2, 3, 4), True)], "TransferFunction"),
        ([rationals(532, 0, 255, 0, 255, 0, 255)], None),
        ([rationals(532, 16, 235, 16, 235, 16, 235)], "ReferenceBlackWhite"),
    ],
)
def test_colour_in_the_tags_of_a_tiff_is_a_warning_unless_it_is_srgb(
    tags: list[Extra], name: str | None
) -> None:
    expected = () if name is None else (f"colour: {name} is ignored: expected an ICC profile",)
    assert checked(tagged(*tags)).warnings == expected


def test_more_tags_about_colour_in_a_tiff() -> None:
    (warning,) = checked(
        tagged((291, 3, 256, tuple(range(256)), True), photometric="minisblack")
    ).warnings
    assert "GrayResponseCurve" in warning
    assert checked(tagged(curve(2.2, 1, 16), bits=16)).warnings == ()
    (warning,) = checked(tagged(curve(1.0, 3, 16), bits=16)).warnings
    assert "TransferFunction" in warning
    several = tagged(rationals(318, 0.3457, 0.3585), curve(1.0, 1))
    assert len(checked(several).warnings) == 2
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, RGB, photometric="rgb", iccprofile=P3, extratags=[curve(1.0, 1)])
    assert checked(buffer.getvalue()).warnings == ()


def test_the_reference_levels_of_ycbcr_are_a_warning_where_they_are_not_applied() -> None:
    def ycbcr(*levels: float, **options: Any) -> bytes:
        info = TiffImagePlugin.ImageFileDirectory_v2()
        info.tagtype[532] = 5
        info[532] = levels
        return saved(Image.fromarray(RGB).convert("YCbCr"), "TIFF", tiffinfo=info, **options)

    narrow = (16, 235, 128, 240, 128, 240)
    for options in ({}, {"compression": "jpeg"}):
        assert checked(ycbcr(0, 255, 128, 255, 128, 255, **options)).warnings == ()
        (warning,) = checked(ycbcr(*narrow, **options)).warnings
        assert "ReferenceBlackWhite" in warning


@pytest.mark.parametrize("name", ["jpeg", "tiff", "tiff-alpha", "tiff-16"])
def test_cmyk_without_a_profile_is_a_warning(name: str) -> None:
    assert checked(CMYK_FILES[name](b"")).warnings == (
        "colour: CMYK without a profile is converted as ideal inks",
    )


def test_cmyk_in_a_jpeg_without_an_adobe_marker_is_a_warning() -> None:
    data = CMYK_FILES["jpeg"](CMYK)
    place = data.index(b"\xff\xee\0\x0eAdobe")
    picture = checked(data[:place] + data[place + 16 :])
    assert picture.warnings == (
        "colour: CMYK without an Adobe marker is read as Adobe writes it, inverted",
    )
    assert np.array_equal(picture.rgb, checked(data).rgb)


def test_the_calibrated_colours_of_a_bmp_are_a_warning_unless_they_are_srgb() -> None:
    def calibrated(*xyz: tuple[float, float, float]) -> bytes:
        data = as_bmp(RGB)(b"")
        points = struct.pack("<9I", *(round(value * 2**30) for point in xyz for value in point))
        return data[: 14 + 56] + bytes(4) + points.ljust(36, b"\0") + data[14 + 96 :]

    srgb = ((0.64, 0.33, 0.03), (0.30, 0.60, 0.10), (0.15, 0.06, 0.79))
    assert checked(calibrated(*srgb)).warnings == ()
    assert checked(calibrated(*[(0, 0, 0)] * 3)).warnings == ()
    wide_gamut = ((0.68, 0.32, 0.0), (0.265, 0.69, 0.045), (0.15, 0.06, 0.79))
    (warning,) = checked(calibrated(*wide_gamut)).warnings
    assert "BMP" in warning
