"""What files state about their colours survives: results look as the numbers of the source say."""

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from producer.contract.options import Options
from tests.support import icc_profiles as icc
from tests.support.colour_truth import seen_by_lcms, seen_by_libvips, true_srgb
from tests.support.cutting import pass_alone
from tests.support.hostile.png import chunk
from worker.imaging.colour.code_points import CodePoints, profile_of
from worker.imaging.colour.nclx import nclx_code_points
from worker.imaging.colour.srgb import srgb_to_profile
from worker.imaging.decode import Picture, open_image
from worker.imaging.encode import FORMATS
from worker.imaging.masks import Depth
from worker.imaging.png import write_png

LIMIT: Final = 10_000
DEPTHS: Final[tuple[Depth, ...]] = (np.uint8, np.uint16)
CODE_POINTS: Final[Mapping[tuple[int, int], str]] = {
    (1, 1): "bt709",
    (1, 4): "gamma-2.2",
    (1, 6): "bt709",
    (1, 8): "linear",
    (2, 8): "linear",
    (4, 4): "ntsc",
    (5, 13): "pal",
    (6, 6): "smpte-c",
    (7, 1): "smpte-c",
    (9, 1): "bt2020",
    (9, 14): "bt2020",
    (9, 15): "bt2020",
    (2, 16): "pq",
    (9, 16): "pq",
    (9, 18): "hlg",
    (12, 2): "p3",
    (12, 4): "p3-gamma-2.2",
    (12, 13): "p3",
}
"""Primaries and transfer function by ITU-T H.273, and the space that they name."""
SRGB_CODE_POINTS: Final = ((1, 13), (2, 2), (1, 2), (2, 13))
UNKNOWN_CODE_POINTS: Final = ((0, 13), (3, 1), (99, 13), (255, 255), (12, 0), (12, 3), (9, 19))

_D50_XY, _D65_XY = (0.3457, 0.3585), (0.3127, 0.3290)
_SRGB_XY: Final = (*_D65_XY, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_PROPHOTO_XY: Final = (*_D50_XY, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)
_ADOBE_XY: Final = (*_D65_XY, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_P3_XY: Final = (*_D65_XY, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
_2020_XY: Final = (*_D65_XY, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)


def name_of(value: object) -> str:
    """Return a name of a parameter for the test's name, in which bytes would be unreadable."""
    return value if isinstance(value, str) else getattr(value, "__name__", "")


def colours(kind: Depth = np.uint8) -> NDArray[Any]:
    """Return (24, 32, 3): ramps of grey and of saturated colours, and random ones."""
    ramp = np.linspace(0, 1, 32)
    weights = ((1, 1, 1), (1, 0.5, 0), (0, 1, 0.2), (0.9, 0, 1))
    rows = [np.outer(ramp, weight) for weight in weights]
    rows += list(np.random.default_rng(3).random((20, 32, 3)))
    pixels: NDArray[Any] = np.rint(np.stack(rows) * np.iinfo(kind).max).astype(kind)
    return pixels


def png(pixels: NDArray[Any], *chunks: bytes) -> bytes:
    """Return a PNG with chunks before its pixels."""
    data = write_png(pixels, icc_profile=None, dpi=None)
    return data[:33] + b"".join(chunks) + data[33:]


def cicp(primaries: int, transfer: int, *, full_range: int = 1) -> bytes:
    return chunk(b"cICP", bytes((primaries, transfer, 0, full_range)))


def gama(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(100_000 / gamma)))


def chrm(xy: tuple[float, ...]) -> bytes:
    """White, red, green, blue."""
    return chunk(b"cHRM", struct.pack(">8I", *(round(100_000 * value) for value in xy)))


def iccp(profile: bytes) -> bytes:
    data = write_png(np.zeros((1, 1, 3), np.uint8), icc_profile=profile, dpi=None)
    length = int.from_bytes(data[33:37], "big")
    return data[33 : 45 + length]


def saved(image: Image.Image, name: str, **parameters: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **parameters)
    return buffer.getvalue()


def decoded(data: bytes, depth: Depth = np.uint8) -> Picture:
    return open_image(data, max_pixels=LIMIT).decode(depth=depth)


def check_seen(data: bytes, pixels: NDArray[Any], space: str, *, tolerance: float = 1.5) -> None:
    """Check that an image looks to two colour-managed readers as pixels of a space."""
    shallow = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    for seen in (seen_by_lcms(data), seen_by_libvips(data)):
        np.testing.assert_allclose(seen, true_srgb(shallow, space), atol=tolerance)


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


def check_named(warnings: tuple[str, ...], space: str) -> None:
    """Check that there is a warning for PQ or HLG, which names it, and no other."""
    named = {"pq": ["PQ"], "hlg": ["HLG"]}.get(space, [])
    assert [word for warning in warnings for word in ("PQ", "HLG") if word in warning] == named
    assert len(warnings) == len(named)


@pytest.mark.parametrize(("points", "space"), CODE_POINTS.items())
@pytest.mark.parametrize("name", ["AVIF", "HEIF"])
def test_an_avif_or_heic_with_code_points_looks_as_they_say(
    name: str, points: tuple[int, int], space: str
) -> None:
    data = coded(name, points)
    image, warnings = pass_alone(data, Options())
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    check_seen(image, pixels, space)
    check_named(warnings, space)


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


def coded(name: str, points: tuple[int, int], mode: str = "RGB") -> bytes:
    """Return a file with code points for its colours."""
    if name == "PNG":
        return png(np.asarray(Image.fromarray(colours()).convert(mode)), cicp(*points))
    image = Image.fromarray(colours()).convert(mode)
    data = saved(image, name, quality=95)
    assert data.count(b"colrnclx") == 1
    place = data.index(b"colrnclx") + 8
    return data[:place] + struct.pack(">HH", *points) + data[place + 4 :]


@pytest.mark.parametrize("name", ["AVIF", "HEIF", "PNG"])
@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_code_points_hold_for_grey_and_with_alpha(name: str, mode: str) -> None:
    data = coded(name, (12, 13), mode)
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    image, warnings = pass_alone(data, Options())
    check_seen(image, pixels, "p3")
    assert warnings == ()


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
        ((gama(1.8), chrm(_PROPHOTO_XY)), "prophoto"),
        ((gama(2.19921875), chrm(_ADOBE_XY)), "adobe-rgb"),
        ((gama(2.2), chrm(_P3_XY)), "p3-gamma-2.2"),
        ((chrm(_P3_XY),), "p3"),
        ((gama(2.2), chrm(_SRGB_XY)), "gamma-2.2"),
        ((gama(2.2),), "gamma-2.2"),
        ((gama(1.8),), "gamma-1.8"),
        ((gama(1.0),), "linear"),
        ((chrm(_SRGB_XY),), "srgb"),
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
        "p3-gamma-2.2": (gama(2.2), chrm(_P3_XY)),
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
        (chrm((*_D65_XY, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5)), "cHRM ignored"),
        (chunk(b"cICP", b"\1"), "cICP ignored: expected 4 bytes, found 1"),
        (chunk(b"cICP", b"\1") * 1_000, "cICP ignored: expected 4 bytes, found 1"),
        (cicp(1, 13, full_range=0), "narrow range"),
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
    data = png(colours(), chunk(b"iCCP", b"icc\0\0no zlib"), gama(2.2), chrm(_P3_XY))
    image, warnings = pass_alone(data, Options())
    check_seen(image, colours(), "p3-gamma-2.2")
    assert len(warnings) == 1


def test_the_stream_of_an_avif_counts_where_its_boxes_state_no_colour() -> None:
    data = saved(Image.fromarray(colours()), "AVIF", quality=95)
    data = data.replace(b"colrnclx", b"freenclx")
    assert decoded(data).icc_profile is None  # The stream says sRGB: 1, 13, 6.
    start = data.index(b"mdat") + 4
    stream = f"{int.from_bytes(data[start : start + 32], 'big'):0256b}"
    srgb, p3 = (f"{primaries:08b}{13:08b}{6:08b}" for primaries in (1, 12))
    assert stream.count(srgb) == 1
    patched = int(stream.replace(srgb, p3), 2).to_bytes(32, "big")
    data = data[:start] + patched + data[start + 32 :]
    image, warnings = pass_alone(data, Options())
    check_seen(image, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), "p3")
    assert warnings == ()


def test_an_embedded_profile_goes_before_the_code_points_of_an_avif() -> None:
    profile = icc.matrix("prophoto", icc.gamma(1.8))
    data = saved(Image.fromarray(colours()), "AVIF", quality=95, icc_profile=profile)
    place = data.index(b"colrnclx") + 8
    data = data[:place] + struct.pack(">HH", 12, 13) + data[place + 4 :]
    assert decoded(data).icc_profile == profile


def test_a_grid_has_the_code_points_of_its_tiles_and_not_those_of_other_pictures() -> None:
    def box(kind: bytes, *parts: bytes) -> bytes:
        body = b"".join(parts)
        return struct.pack(">I4s", 8 + len(body), kind) + body

    def colour(primaries: int) -> bytes:
        return box(b"colr", b"nclx", struct.pack(">HHHB", primaries, 13, 0, 128))

    def file(associations: dict[int, int], tiles: dict[int, int]) -> bytes:
        """Item 1 is the primary one; properties 1 and 2 are P3 and BT.2020."""
        entries = [struct.pack(">HBB", item, 1, index) for item, index in associations.items()]
        count = struct.pack(">II", 0, len(entries))
        properties = box(
            b"iprp", box(b"ipco", colour(12), colour(9)), box(b"ipma", count, *entries)
        )
        parts = [box(b"dimg", struct.pack(">HHH", grid, 1, tile)) for grid, tile in tiles.items()]
        primary = box(b"pitm", bytes(4), struct.pack(">H", 1))
        return box(b"meta", bytes(4), primary, properties, box(b"iref", bytes(4), *parts))

    assert nclx_code_points(file({1: 1, 2: 2}, {})) == (12, 13)
    assert nclx_code_points(file({2: 2}, {})) is None
    assert nclx_code_points(file({2: 2, 3: 1}, {1: 3, 4: 2})) == (12, 13)
    assert nclx_code_points(file({2: 2, 3: 1}, {4: 2})) is None


def test_an_animation_states_its_code_points_in_its_track() -> None:
    frames = [Image.fromarray(colours()), Image.fromarray(colours()[::-1].copy())]
    data = saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], quality=95)
    place = data.rindex(b"colrnclx") + 8
    data = data[:place] + struct.pack(">HH", 12, 13) + data[place + 4 :]
    assert data.count(b"colrnclx") == 2, "the first is that of the still picture"
    image, _ = pass_alone(data, Options())
    check_seen(image, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), "p3")


def test_every_truncation_and_flipped_bit_of_a_colour_box_is_survived() -> None:
    data = coded("AVIF", (12, 13))
    start, end = data.index(b"meta"), data.index(b"mdat")
    for place in range(start, end):
        nclx_code_points(data[:place])
        for bit in (1, 128):
            nclx_code_points(data[:place] + bytes((data[place] ^ bit,)) + data[place + 1 :])


@pytest.mark.parametrize("image_format", list(FORMATS))
@pytest.mark.parametrize("space", ["p3", "prophoto", "pq"])
def test_every_output_format_carries_the_profile(image_format: str, space: str) -> None:
    chunks = {
        "p3": (cicp(12, 13),),
        "prophoto": (gama(1.8), chrm(_PROPHOTO_XY)),
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
