"""What files state about their colours survives: results look as the numbers of the source say."""

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image

from producer.contract.options import Options
from tests.support import icc_profiles as icc
from tests.support.colour_truth import true_srgb
from tests.support.cutting import pass_alone
from tests.support.stated_colours import (
    CODE_POINTS,
    PROPHOTO_XY,
    SRGB_CODE_POINTS,
    UNKNOWN_CODE_POINTS,
    check_seen,
    chrm,
    cicp,
    coded,
    colours,
    decoded,
    gama,
    iccp,
    name_of,
    png,
)
from worker.imaging.colour.code_points import CodePoints, profile_of
from worker.imaging.colour.srgb import srgb_to_profile
from worker.imaging.encode import FORMATS
from worker.imaging.masks import Depth


@pytest.mark.parametrize("name", ["AVIF", "HEIF", "PNG"])
def test_srgb_by_code_points_needs_no_profile(name: str) -> None:
    for points in SRGB_CODE_POINTS:
        picture = decoded(coded(name, points))
        assert picture.icc_profile is None, points
        assert picture.warnings == (), points


@pytest.mark.parametrize("name", ["AVIF", "PNG"])  # libheif refuses them.
def test_unknown_code_points_are_named_in_a_warning(name: str) -> None:
    for points in UNKNOWN_CODE_POINTS:
        picture = decoded(coded(name, points))
        assert picture.icc_profile is None, points
        (warning,) = picture.warnings
        assert f"found the code points {points[0]} and {points[1]}" in warning


@pytest.mark.parametrize("name", ["AVIF", "HEIF", "PNG"])
@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_code_points_hold_for_grey_and_with_alpha(name: str, mode: str) -> None:
    data = coded(name, (12, 13), mode)
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    image, warnings = pass_alone(data, Options())
    check_seen(image, pixels, "p3")
    assert warnings == ()


@pytest.mark.parametrize("image_format", list(FORMATS))
@pytest.mark.parametrize("space", ["p3", "prophoto", "pq"])
def test_every_output_format_carries_the_profile(image_format: str, space: str) -> None:
    chunks = {
        "p3": (cicp(12, 13),),
        "prophoto": (gama(1.8), chrm(PROPHOTO_XY)),
        "pq": (cicp(9, 16),),
    }[space]
    pixels = np.repeat(np.repeat(colours()[:4, ::8], 16, 0), 16, 1)
    options = Options(image_format=image_format, background="#ffffff", quality=None)
    image, _ = pass_alone(png(pixels, *chunks), options)
    if image_format == "zip":
        with zipfile.ZipFile(io.BytesIO(image)) as archive:
            image = archive.read("colour.jpg")
    lossless = image_format in ("png", "tiff", "webp")
    stored = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))
    # Decoders of lossy formats round differently.
    check_seen(image, stored, space, tolerance=1.5 if lossless else 5)
    np.testing.assert_allclose(stored.astype(float), pixels, atol=0 if lossless else 6)


@pytest.mark.parametrize(
    ("depth", "preset"), [(np.uint8, "default"), (np.uint16, "segmentation-custom")]
)
@pytest.mark.parametrize(
    ("space", "part"),
    [
        ("p3", cicp(12, 13)),
        ("bt2020", cicp(9, 1)),
        ("pq", cicp(9, 16)),
        ("hlg", cicp(9, 18)),
        ("adobe-rgb", iccp(icc.matrix("adobe", icc.gamma(2.2)))),
        ("prophoto", iccp(icc.matrix("prophoto", icc.gamma(1.8)))),
        ("srgb", iccp(icc.real_profiles()["sRGB of lcms"])),
        ("srgb", iccp(icc.real_profiles()["sRGB of libvips"])),
        ("srgb", b""),
    ],
    ids=name_of,
)
def test_a_background_in_hex_looks_as_in_srgb(
    space: str, part: bytes, preset: Any, depth: Depth
) -> None:
    clear = np.zeros((4, 4, 4), depth)
    for colour in ("#ff8000", "#ffffff", "#000000", "#336699", "#0a0b0c"):
        wanted = np.array(list(bytes.fromhex(colour[1:])))
        options = Options(background=colour, preset=preset, bit_depth=8 * depth().itemsize)
        image, _ = pass_alone(png(clear, part), options)
        picture = decoded(image, depth)
        # Neighbouring levels of a large space in 8 bits are far apart.
        tolerance = 3 if depth is np.uint8 else 1.5
        np.testing.assert_allclose(true_srgb(picture.rgb[0, 0], space), wanted, atol=tolerance)
        if space == "srgb":
            assert np.array_equal(picture.rgb[0, 0], wanted * (np.iinfo(depth).max // 255))


def test_a_background_in_eight_bits_is_the_high_byte_of_that_in_sixteen() -> None:
    for colour in np.random.default_rng(4).integers(0, 256, (10, 3)):
        options = Options(background="#" + bytes(colour.tolist()).hex())
        deep_options = options.model_copy(update={"bit_depth": 16})
        data = png(np.zeros((2, 2, 4), np.uint8), cicp(12, 13))
        shallow, deep = (pass_alone(data, each)[0] for each in (options, deep_options))
        assert np.array_equal(decoded(shallow).rgb, decoded(deep, np.uint16).rgb >> 8)


def test_a_profile_without_a_way_to_its_levels_is_a_warning() -> None:
    warnings = list[str]()
    scanner = icc.real_profiles()["scanner"]
    assert srgb_to_profile((255, 128, 0), scanner, warnings) == (255, 128, 0)
    assert "background: not converted" in warnings[0]


def test_white_in_pq_and_hlg_is_diffuse_white_and_not_the_brightest_light() -> None:
    for transfer, level in ((16, 0.5807), (18, 0.7498)):
        profile = profile_of(CodePoints(9, transfer), [])
        white = srgb_to_profile((255, 255, 255), profile, [])
        assert np.allclose(np.array(white) / 255, level, atol=0.001)


def test_the_same_space_gives_the_same_bytes() -> None:
    for points in CODE_POINTS:
        assert profile_of(CodePoints(*points), []) == profile_of(CodePoints(*points), [])
