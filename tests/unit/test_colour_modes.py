"""ICC profiles in every kind of pixels: kept, applied or dropped with a warning; at both depths."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from producer.contract.options import Options
from tests.support import icc_profiles as icc
from tests.support.colour_truth import lab_to_srgb, seen_by_lcms, true_srgb
from tests.support.cutting import pass_alone
from tests.support.hostile.png import chunk, png
from worker.imaging.colour.grey import grey_to_srgb
from worker.imaging.colour.png import StatedColour
from worker.imaging.colour_conversion import conversion
from worker.imaging.decode import Picture, open_image
from worker.imaging.masks import Depth

WIDTH, HEIGHT = 64, 8
GREY: Final = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (HEIGHT, 1))
ALPHA: Final = np.full_like(GREY, 200)
RGB: Final = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
INK: Final = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)

Pixels = NDArray[Any]
Write = Callable[[bytes], bytes]


def decoded(data: bytes, depth: Depth = np.uint8) -> Picture:
    return open_image(data, max_pixels=10_000).decode(depth=depth)


def checked(data: bytes) -> Picture:
    """Return the picture of 8 bits, which is the high byte of that of 16 bits."""
    shallow, deep = decoded(data), decoded(data, np.uint16)
    assert np.array_equal(shallow.rgb, deep.rgb >> 8)
    assert shallow.icc_profile == deep.icc_profile
    assert shallow.warnings == deep.warnings
    return shallow


def wide(pixels: Pixels) -> Pixels:
    return pixels.astype(np.uint16) * np.uint16(257)


def as_png(pixels: Pixels, colour: int, *parts: bytes) -> Write:
    depth = 8 * pixels.dtype.itemsize
    rows = b"".join(b"\0" + row.astype(f">u{pixels.dtype.itemsize}").tobytes() for row in pixels)
    return lambda icc: png(WIDTH, HEIGHT, iccp(icc), *parts, depth=depth, colour=colour, rows=rows)


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile))


def as_tiff(pixels: Pixels, photometric: str, **options: Any) -> Write:
    def write(profile: bytes) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, photometric=photometric, iccprofile=profile, **options)
        return buffer.getvalue()

    return write


def by_pillow(image: Image.Image, name: str, **options: Any) -> Write:
    def write(profile: bytes) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, name, icc_profile=profile, **options)
        return buffer.getvalue()

    return write


def as_bmp(pixels: Pixels) -> Write:
    """With a header of version 5, in which a profile has a place."""

    def write(profile: bytes) -> bytes:
        height, width = pixels.shape[:2]
        body = pixels[::-1, :, ::-1].tobytes()
        assert width * 3 % 4 == 0
        start = 14 + 124
        head = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 24, 0, len(body), 0, 0, 0, 0)
        head += bytes(16) + struct.pack("<I", 0x4D424544) + bytes(48)
        head += struct.pack("<IIII", 4, 124 + len(body), len(profile), 0)
        file = struct.pack("<2sIII", b"BM", start + len(body) + len(profile), 0, start)
        return file + head + body + profile

    return write


def as_gif(pixels: Pixels) -> Write:
    def write(profile: bytes) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).quantize(16).save(buffer, "GIF")
        data = buffer.getvalue()
        start = 13 + 3 * (2 << (data[10] & 7))
        blocks = [profile[place : place + 255] for place in range(0, len(profile), 255)]
        body = b"".join(bytes((len(block),)) + block for block in blocks)
        return data[:start] + b"!\xff\x0bICCRGBG1012" + body + b"\0" + data[start:]

    return write


LA: Final = np.dstack([GREY, ALPHA])
RGBA: Final = np.dstack([RGB, ALPHA])
KEY: Final = chunk(b"tRNS", struct.pack(">H", 8))
UNASSOCIATED: Final = {"extrasamples": ["unassalpha"]}

GREY_FILES: Final[Mapping[str, tuple[Write, Pixels]]] = {
    "png-L": (as_png(GREY, 0), GREY),
    "png-LA": (as_png(LA, 4), GREY),
    "png-L16": (as_png(wide(GREY), 0), GREY),
    "png-LA16": (as_png(wide(LA), 4), GREY),
    "png-key": (as_png(GREY, 0, KEY), GREY),
    "png-key16": (as_png(wide(GREY), 0, chunk(b"tRNS", struct.pack(">H", 8 * 257))), GREY),
    "png-1": (by_pillow(Image.fromarray(GREY > 127), "PNG"), np.where(GREY > 127, 255, 0)),
    "jpeg": (by_pillow(Image.fromarray(np.full_like(GREY, 90)), "JPEG"), np.full_like(GREY, 90)),
    "avif": (by_pillow(Image.fromarray(np.full_like(GREY, 90)), "AVIF"), np.full_like(GREY, 90)),
    "heif": (by_pillow(Image.fromarray(np.full_like(GREY, 90)), "HEIF"), np.full_like(GREY, 90)),
    "heif16": (
        by_pillow(Image.fromarray(np.full_like(wide(GREY), 90 * 257)), "HEIF"),
        np.full_like(GREY, 90),
    ),
    "tiff-L": (as_tiff(GREY, "minisblack"), GREY),
    "tiff-L16": (as_tiff(wide(GREY), "minisblack"), GREY),
    "tiff-L16-big-endian": (as_tiff(wide(GREY), "minisblack", byteorder=">"), GREY),
    "tiff-float": (as_tiff((GREY / 255).astype(np.float32), "minisblack"), GREY),
    "tiff-LA": (as_tiff(LA, "minisblack", **UNASSOCIATED), GREY),
    "tiff-LA16": (as_tiff(wide(LA), "minisblack", **UNASSOCIATED), GREY),
    "tiff-negative": (as_tiff(GREY, "miniswhite"), 255 - GREY),
    "tiff-negative16": (as_tiff(wide(GREY), "miniswhite"), 255 - GREY),
    "tiff-1": (as_tiff(GREY > 127, "minisblack"), np.where(GREY > 127, 255, 0)),
}
"""How to write grey pixels with a profile, and their levels in 8 bits."""
RGB_FILES: Final[Mapping[str, Write]] = {
    "png-RGB": as_png(RGB, 2),
    "png-RGBA": as_png(RGBA, 6),
    "png-RGB16": as_png(wide(RGB), 2),
    "png-RGBA16": as_png(wide(RGBA), 6),
    "png-P": by_pillow(Image.fromarray(RGB).quantize(16), "PNG"),
    "png-P-key": by_pillow(Image.fromarray(RGB).quantize(16), "PNG", transparency=3),
    "jpeg": by_pillow(Image.fromarray(RGB), "JPEG"),
    "webp": by_pillow(Image.fromarray(RGBA), "WEBP", lossless=True),
    "avif": by_pillow(Image.fromarray(RGBA), "AVIF"),
    "heif": by_pillow(Image.fromarray(RGBA), "HEIF"),
    "bmp": as_bmp(RGB),
    "gif": as_gif(RGB),
    "tiff-RGB": as_tiff(RGB, "rgb"),
    "tiff-RGBA16": as_tiff(wide(RGBA), "rgb", **UNASSOCIATED),
    "tiff-planes": as_tiff(np.moveaxis(RGB, -1, 0), "rgb", planarconfig="separate"),
    "tiff-P": by_pillow(Image.fromarray(RGB).quantize(16), "TIFF"),
    "tiff-YCbCr": by_pillow(Image.fromarray(RGB).convert("YCbCr"), "TIFF"),
    "tiff-YCbCr-jpeg": by_pillow(Image.fromarray(RGB).convert("YCbCr"), "TIFF", compression="jpeg"),
}
CMYK_FILES: Final[Mapping[str, Write]] = {
    "jpeg": by_pillow(Image.fromarray(INK, "CMYK"), "JPEG", quality=100, subsampling=0),
    "tiff": as_tiff(INK, "separated"),
    "tiff-alpha": as_tiff(np.dstack([INK, ALPHA]), "separated", **UNASSOCIATED),
    "tiff-16": as_tiff(wide(INK), "separated"),
    "tiff-alpha16": as_tiff(wide(np.dstack([INK, ALPHA])), "separated", **UNASSOCIATED),
}
P3: Final = icc.matrix("p3", icc.gamma(2.2))
CMYK: Final = icc.real_profiles()["CMYK of libvips"]


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


def test_adobe_rgb_by_exif_alone_is_a_warning() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "JPEG", exif=exif)
    (warning,) = checked(buffer.getvalue()).warnings
    assert "Adobe RGB by EXIF is ignored" in warning
    (buffer := io.BytesIO()).seek(0)
    Image.fromarray(RGB).save(buffer, "JPEG", exif=exif, icc_profile=P3)
    assert checked(buffer.getvalue()).warnings == ()


def test_primaries_in_tiff_tags_are_a_warning_unless_they_are_those_of_srgb() -> None:
    def tagged(*xy: float) -> bytes:
        buffer = io.BytesIO()
        numbers = tuple(number for value in xy for number in (round(value * 10_000), 10_000))
        tifffile.imwrite(buffer, RGB, photometric="rgb", extratags=[(319, 5, 6, numbers, True)])
        return buffer.getvalue()

    assert checked(tagged(0.64, 0.33, 0.30, 0.60, 0.15, 0.06)).warnings == ()
    (warning,) = checked(tagged(0.68, 0.32, 0.265, 0.69, 0.15, 0.06)).warnings
    assert "PrimaryChromaticities" in warning


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
    assert len(picture.warnings) == 1
    assert "incomplete" in picture.warnings[0]
