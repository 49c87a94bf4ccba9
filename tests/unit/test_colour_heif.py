"""Colours that a HEIC or AVIF states in boxes or in its stream."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from producer.contract.options import Options
from tests.support import icc_profiles as icc
from tests.support.cutting import pass_alone
from tests.support.stated_colours import (
    CODE_POINTS,
    SRGB_CODE_POINTS,
    check_named,
    check_seen,
    coded,
    colours,
    decoded,
    saved,
)
from worker.imaging.colour.nclx import nclx_code_points


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


@pytest.mark.parametrize(
    ("points", "space"),
    # libheif writes the primaries of sRGB where they are unspecified.
    [(points, space) for points, space in CODE_POINTS.items() if 2 not in points],
)
def test_the_stream_of_a_heic_counts_where_its_boxes_state_no_colour(
    points: tuple[int, int], space: str
) -> None:
    data = streamed(points)
    assert b"colr" not in data
    image, warnings = pass_alone(data, Options())
    check_seen(image, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), space)
    check_named(warnings, space)


def test_a_heic_whose_stream_states_srgb_or_nothing_needs_no_profile() -> None:
    for points in SRGB_CODE_POINTS:
        picture = decoded(streamed(points))
        assert (picture.icc_profile, picture.warnings) == (None, ()), points


def test_the_boxes_of_a_heic_go_before_its_stream() -> None:
    data = streamed((9, 16)).replace(b"freenclx", b"colrnclx")
    place = data.index(b"colrnclx") + 8
    assert nclx_code_points(data[:place] + struct.pack(">HH", 12, 13) + data[place + 4 :]) == (
        12,
        13,
    )


def streamed(points: tuple[int, int]) -> bytes:
    """Return a HEIC with code points in the video usability information alone."""
    primaries, transfer = points
    data = saved(
        Image.fromarray(colours()),
        "HEIF",
        quality=95,
        color_primaries=primaries,
        transfer_characteristics=transfer,
        matrix_coefficients=6,
        full_range_flag=1,
    )
    return data.replace(b"colrnclx", b"freenclx")


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


@pytest.mark.parametrize(
    ("name", "colr"), [("AVIF", b"colr"), ("AVIF", b"free"), ("HEIF", b"free")]
)
def test_every_truncation_and_flipped_bit_of_a_colour_box_is_survived(
    name: str, colr: bytes
) -> None:
    data = coded(name, (12, 13)).replace(b"colrnclx", colr + b"nclx")
    start, end = data.index(b"meta"), data.index(b"mdat")
    for place in range(start, end):
        nclx_code_points(data[:place])
        for bit in (1, 128):
            nclx_code_points(data[:place] + bytes((data[place] ^ bit,)) + data[place + 1 :])
