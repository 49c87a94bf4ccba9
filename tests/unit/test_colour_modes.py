"""ICC profiles in every kind of pixels: kept, applied or dropped with a warning; at both depths."""

import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image, ImageCms

from producer.contract.options import Options
from tests.support import icc_profiles as icc
from tests.support.colour_truth import lab_to_srgb, seen_by_lcms, true_srgb
from tests.support.cutting import pass_alone
from tests.support.profiled_pictures import (
    CMYK,
    CMYK_FILES,
    GREY_FILES,
    INK,
    P3,
    RGB,
    RGB_FILES,
    Write,
    as_bmp,
    as_gif,
    as_tiff,
    by_pillow,
    checked,
)
from worker.imaging.colour.grey import grey_to_srgb
from worker.imaging.colour.png import StatedColour
from worker.imaging.colour_conversion import conversion


def lightness(profile: bytes) -> bytes:
    """Return a profile whose connection space is Lab."""
    return profile[:20] + b"Lab " + profile[24:]


GREY_PROFILES: Final[Mapping[str, bytes]] = {
    "linear": icc.grey(icc.gamma(1.0)),
    "gamma-1.8": icc.grey(icc.gamma(1.8)),
    "gamma-2.2": icc.grey(icc.gamma(2.2)),
    "identity": icc.grey(icc.samples([])),
    "dot-gain": icc.real_profiles()["grey of a dot gain"],
    "sampled": icc.grey(icc.samples([0, 9_000, 20_000, 40_000, 65_535])),
    "lightness": lightness(icc.grey(icc.gamma(1.0))),
    "parametric-0": icc.grey(icc.parametric(0, 1.5)),
    "parametric-1": icc.grey(icc.parametric(1, 2.4, 1.1, -0.1)),
    "parametric-2": icc.grey(icc.parametric(2, 2.4, 1.0, -0.1, 0.1)),
    "parametric-3": icc.grey(icc.parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)),
    "parametric-4": icc.grey(icc.parametric(4, 2.2, 0.9, 0.05, 0.5, 0.1, 0.05, 0.02)),
}


@pytest.mark.parametrize("name", GREY_PROFILES)
def test_a_curve_for_grey_gives_what_lcms_makes_of_it(name: str) -> None:
    profile = GREY_PROFILES[name]
    shown = ImageCms.profileToProfile(
        Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis]),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.NOOPTIMIZE,
    )
    levels = grey_to_srgb(profile, np.linspace(0, 1, 256))
    assert levels is not None
    np.testing.assert_allclose(np.asarray(shown)[0, :, 1], 255 * levels, atol=0.6)


@pytest.mark.parametrize("name", GREY_FILES)
@pytest.mark.parametrize(("gamma", "space"), [(1.8, "gamma-1.8"), (2.2, "gamma-2.2")])
def test_grey_with_a_profile_for_grey_looks_as_it_says(name: str, gamma: float, space: str) -> None:
    write, levels = GREY_FILES[name]
    picture = checked(write(icc.grey(icc.gamma(gamma))))
    assert picture.icc_profile is None
    assert not [warning for warning in picture.warnings if "profile" in warning]
    pixels = np.dstack([levels.astype(np.uint8)] * 3)
    np.testing.assert_allclose(picture.rgb, true_srgb(pixels, space), atol=1)


def test_grey_with_a_table_in_its_profile_is_converted() -> None:
    table = (b"A2B0", icc.table(1, 3, 33, entries=1024))
    profile = icc.profile(b"GRAY", [*icc.named("grey"), table], connection=b"Lab ")
    for name in ("png-L", "png-LA", "png-L16", "png-LA16", "tiff-L16"):
        write, levels = GREY_FILES[name]
        picture = checked(write(profile))
        assert picture.icc_profile is None
        assert picture.warnings == ()
        assert not np.array_equal(picture.rgb, np.dstack([levels] * 3)), name


def test_grey_of_one_profile_is_the_same_with_alpha_and_with_sixteen_bits() -> None:
    names = ("png-L", "png-LA", "png-L16", "png-LA16", "tiff-L", "tiff-LA", "tiff-L16", "tiff-LA16")
    for name in names:
        write, _ = GREY_FILES[name]
        picture = checked(write(icc.grey(icc.gamma(1.8))))
        assert picture.rgb[0, 32].tolist() == [146, 146, 146], name


@pytest.mark.parametrize("name", GREY_FILES)
def test_grey_with_a_profile_for_rgb_keeps_it(name: str) -> None:
    write, levels = GREY_FILES[name]
    picture = checked(write(P3))
    assert picture.icc_profile == P3
    assert np.array_equal(picture.rgb, np.dstack([levels] * 3))


@pytest.mark.parametrize("name", RGB_FILES)
def test_rgb_with_a_profile_for_rgb_keeps_it(name: str) -> None:
    data = RGB_FILES[name](P3)
    picture = checked(data)
    assert picture.icc_profile == P3
    assert picture.warnings == ()
    image, warnings = pass_alone(data, Options())
    truth = true_srgb(picture.rgb, "p3-gamma-2.2")
    np.testing.assert_allclose(seen_by_lcms(image), truth, atol=1.5)
    assert warnings == ()


@pytest.mark.parametrize("name", RGB_FILES)
def test_rgb_with_a_profile_for_other_pixels_is_not_changed_and_has_a_warning(name: str) -> None:
    plain = checked(RGB_FILES[name](P3))
    for profile, space in ((icc.grey(icc.gamma(1.8)), "GRAY"), (CMYK, "CMYK")):
        picture = checked(RGB_FILES[name](profile))
        assert picture.icc_profile is None
        assert picture.warnings == (f"colour profile dropped: it is for {space}, not RGB",)
        assert np.array_equal(picture.rgb, plain.rgb)


@pytest.mark.parametrize("name", CMYK_FILES)
def test_cmyk_is_converted_by_its_profile(name: str) -> None:
    shown = ImageCms.profileToProfile(
        Image.fromarray(INK, "CMYK"),
        ImageCms.ImageCmsProfile(io.BytesIO(CMYK)),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )
    picture = checked(CMYK_FILES[name](CMYK))
    assert picture.icc_profile is None
    assert picture.warnings == ()
    difference = np.abs(picture.rgb.astype(int) - np.asarray(shown))
    # A JPEG of quality 100 still rounds.
    assert difference.max() <= (8 if name == "jpeg" else 2)
    picture = checked(CMYK_FILES[name](P3))
    assert picture.warnings == ("colour profile dropped: it is for RGB, not CMYK",)


def test_a_pixel_of_sixteen_bit_cmyk_is_converted_by_itself_wherever_it_is() -> None:
    # More pixels than libvips is given at once.
    inks = np.random.default_rng(1).integers(0, 65535, (3, 101_111, 4), np.uint16, endpoint=True)
    convert = conversion("cmyk", StatedColour(CMYK), sixteen_bits=True, warnings=[]).apply
    whole = convert(inks)
    for first in (0, 60_000, 101_000):
        part = slice(first, first + 111)
        assert np.array_equal(whole[:, part], convert(inks[:, part]))


LAB: Final = np.array(
    [[60, 0, 0], [40, 60, 40], [60, -50, 30], [20, 20, -70], [80, -10, 80], [100, 0, 0], [0, 0, 0]]
)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"tile": (16, 16)}])
def test_lab_becomes_srgb(bits: int, options: dict[str, Any]) -> None:
    scale = 1 if bits == 8 else 256
    top = 2**bits - 1
    levels = np.stack([np.rint(LAB[:, 0] * top / 100), *(LAB[:, 1:] * scale).T], axis=1)
    pixels = (levels.astype(np.int64) & top).astype(f"u{bits // 8}")
    picture_rows = np.repeat(pixels[np.newaxis], 4, axis=0)
    for alpha in (False, True):
        extra: dict[str, Any] = {"extrasamples": ["unassalpha"]} if alpha else {}
        rows = np.dstack([picture_rows, np.full((4, 7), top // 5 * 4, pixels.dtype)])
        write = as_tiff(rows if alpha else picture_rows, "cielab", **options, **extra)
        picture = checked(write(P3))
        np.testing.assert_allclose(picture.rgb[2], lab_to_srgb(LAB.astype(float)), atol=1.1)
        assert picture.icc_profile is None
        assert (picture.alpha is not None) == alpha
        if picture.alpha is not None:
            assert (picture.alpha == 204).all()


@pytest.mark.parametrize("write", [as_bmp(RGB), as_gif(RGB)])
def test_a_profile_that_is_too_large_is_not_read_to_the_end(write: Write) -> None:
    (warning,) = checked(write(P3.ljust(5 * 2**20, b"x"))).warnings
    assert "expected at most 4,194,304 bytes" in warning


def test_a_jpeg_profile_with_a_missing_part_is_a_warning() -> None:
    profile = icc.real_profiles()["press of 8 bits"]
    data = by_pillow(Image.fromarray(INK, "CMYK"), "JPEG")(profile)
    assert data.count(b"ICC_PROFILE\0") > 1
    place = data.rindex(b"ICC_PROFILE\0") - 4
    length = int.from_bytes(data[place + 2 : place + 4], "big")
    picture = checked(data[:place] + data[place + 2 + length :])
    assert "incomplete" in picture.warnings[0]
    assert picture.warnings[1:] == ("colour: CMYK without a profile is converted as ideal inks",)
