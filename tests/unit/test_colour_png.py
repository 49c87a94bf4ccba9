"""Colours that a PNG states in its chunks."""

import io

import numpy as np
import pytest
from PIL import Image

from producer.contract.options import Options
from tests.support import icc_profiles as icc
from tests.support.cutting import pass_alone
from tests.support.hostile.png import chunk
from tests.support.stated_colours import (
    ADOBE_XY,
    CODE_POINTS,
    D65_XY,
    DEPTHS,
    P3_XY,
    PROPHOTO_XY,
    SRGB_XY,
    UNKNOWN_CODE_POINTS,
    check_named,
    check_seen,
    chrm,
    cicp,
    colours,
    decoded,
    gama,
    iccp,
    name_of,
    png,
    saved,
)
from worker.imaging.masks import Depth


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("points", "space"), CODE_POINTS.items())
def test_a_png_with_code_points_looks_as_they_say(
    points: tuple[int, int], space: str, depth: Depth
) -> None:
    pixels = colours(depth)
    image, warnings = pass_alone(
        png(pixels, cicp(*points)), Options(bit_depth=8 * depth().itemsize)
    )
    check_seen(image, pixels, space)
    check_named(warnings, space)


@pytest.mark.parametrize("mode", ["1", "LA", "P"])
def test_code_points_hold_for_every_mode_of_a_png(mode: str) -> None:
    data = saved(Image.fromarray(colours()).convert(mode), "PNG")
    data = data[:33] + cicp(12, 13) + data[33:]
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    image, warnings = pass_alone(data, Options())
    check_seen(image, pixels, "p3")
    assert warnings == ()


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    ("chunks", "space"),
    [
        ((gama(1.8), chrm(PROPHOTO_XY)), "prophoto"),
        ((gama(2.19921875), chrm(ADOBE_XY)), "adobe-rgb"),
        ((gama(2.2), chrm(P3_XY)), "p3-gamma-2.2"),
        ((chrm(P3_XY),), "p3"),
        ((gama(2.2), chrm(SRGB_XY)), "gamma-2.2"),
        ((gama(2.2),), "gamma-2.2"),
        ((gama(1.8),), "gamma-1.8"),
        ((gama(1.0),), "linear"),
        ((chrm(SRGB_XY),), "srgb"),
    ],
    ids=name_of,
)
def test_a_png_with_gamma_and_chromaticities_looks_as_they_say(
    chunks: tuple[bytes, ...], space: str, depth: Depth
) -> None:
    options = Options(bit_depth=8 * depth().itemsize)
    pixels = colours(depth)
    image, warnings = pass_alone(png(pixels, *chunks), options)
    check_seen(image, pixels, space)
    grey = pixels[:, :, 1]
    image, more_warnings = pass_alone(png(grey, *chunks), options)
    check_seen(image, np.dstack([grey] * 3), space)
    assert warnings == more_warnings == ()


def test_the_precedence_of_a_png_s_chunks() -> None:
    """From the first to the last: cICP, iCCP, sRGB, then gAMA with cHRM."""
    stated = {
        "bt2020": (cicp(9, 1),),
        "prophoto": (iccp(icc.matrix("prophoto", icc.gamma(1.8))),),
        "srgb": (chunk(b"sRGB", b"\0"),),
        "p3-gamma-2.2": (gama(2.2), chrm(P3_XY)),
    }
    pixels = colours()
    names = list(stated)
    for first, name in enumerate(names):
        chunks = [part for other in names[first:] for part in stated[other]]
        for order in (chunks, chunks[::-1]):
            image, warnings = pass_alone(png(pixels, *order), Options())
            check_seen(image, pixels, name)
            assert warnings == (), name


@pytest.mark.parametrize("points", [(2, 2), *UNKNOWN_CODE_POINTS])
def test_code_points_that_say_nothing_give_way_to_a_profile(points: tuple[int, int]) -> None:
    profile = icc.matrix("prophoto", icc.gamma(1.8))
    picture = decoded(png(colours(), cicp(*points), iccp(profile)))
    assert picture.icc_profile == profile
    assert len(picture.warnings) == (points != (2, 2))


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (chunk(b"gAMA", bytes(4)), "gAMA ignored"),
        (chunk(b"gAMA", b"\xff" * 4), "gAMA ignored"),
        (chunk(b"cHRM", bytes(32)), "cHRM ignored"),
        (chunk(b"cHRM", b"\xff" * 32), "cHRM ignored"),
        (chrm((*D65_XY, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5)), "cHRM ignored"),
        (chunk(b"cICP", b"\1"), "cICP ignored: expected 4 bytes, found 1"),
        (chunk(b"cICP", b"\1") * 1_000, "cICP ignored: expected 4 bytes, found 1"),
        (chunk(b"iCCP", b"icc\0\0no zlib"), "colour profile dropped"),
    ],
    ids=name_of,
)
def test_colour_chunks_that_cannot_be_used_are_a_warning(part: bytes, words: str) -> None:
    picture = decoded(png(colours(), part))
    assert picture.icc_profile is None
    (warning,) = picture.warnings
    assert words in warning
    assert np.array_equal(picture.rgb, colours())


def test_a_broken_profile_gives_way_to_what_a_png_states_otherwise() -> None:
    data = png(colours(), chunk(b"iCCP", b"icc\0\0no zlib"), gama(2.2), chrm(P3_XY))
    image, warnings = pass_alone(data, Options())
    check_seen(image, colours(), "p3-gamma-2.2")
    assert len(warnings) == 1


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("points", [(12, 13), (1, 13), (2, 2), (9, 16)])
def test_a_narrow_range_is_widened(points: tuple[int, int], depth: Depth) -> None:
    step, top = (256, 65535) if depth is np.uint16 else (1, 255)
    wide = np.dstack([colours(depth), colours(depth)[:, :, 0]])
    narrow = wide.copy()
    narrow[:, :, :3] = np.rint(wide[:, :, :3] / top * 219 * step + 16 * step)
    picture = decoded(png(narrow, cicp(*points, full_range=0)), depth)
    assert np.abs(picture.rgb.astype(int) - wide[:, :, :3]).max() <= 1
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, wide[:, :, 3])
    full = decoded(png(wide, cicp(*points)), depth)
    assert (picture.icc_profile, picture.warnings) == (full.icc_profile, full.warnings)
    # Levels outside of the range are clipped.
    ends = np.array([[[0, 8 * step, 16 * step], [235 * step, 250 * step, top]]], depth)
    picture = decoded(png(ends, cicp(*points, full_range=0)), depth)
    assert picture.rgb.tolist() == [[[0, 0, 0], [top, top, top]]]


def test_a_narrow_range_of_grey_and_with_a_transparent_colour_is_widened() -> None:
    grey = np.array([[16, 235, 126, 40]], np.uint8)
    data = png(grey, cicp(1, 13, full_range=0), chunk(b"tRNS", b"\0\x28"))
    picture = decoded(data)
    assert picture.rgb[0, :, 1].tolist() == [0, 255, 128, 28]
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 255, 255, 0]]


def test_a_narrow_range_of_unknown_code_points_is_ignored_with_them() -> None:
    picture = decoded(png(colours(), cicp(99, 13, full_range=0)))
    assert np.array_equal(picture.rgb, colours())
    assert len(picture.warnings) == 1
