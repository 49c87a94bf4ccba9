"""ICC profiles: those of real devices are used, those that cost much or lie are dropped."""

import io
import struct

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from tests.support import icc_profiles as icc
from tests.support.hostile import icc as hostile
from worker.imaging.bombs.icc import MAX_ICC_PROFILE_BYTES, usable_profile
from worker.imaging.decode import open_image
from worker.imaging.masks import Depth


@pytest.mark.parametrize("name", icc.real_profiles())
def test_a_real_profile_is_usable_as_it_is(name: str) -> None:
    data, warnings = icc.real_profiles()[name], list[str]()
    assert usable_profile(data, warnings) == data
    assert not warnings


@pytest.mark.parametrize("name", icc.real_profiles())
def test_the_colour_libraries_read_the_real_profiles_of_these_tests(name: str) -> None:
    data = icc.real_profiles()[name]
    mode = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}[data[16:20]]
    source = ImageCms.ImageCmsProfile(io.BytesIO(data))
    target = ImageCms.createProfile("sRGB")
    assert ImageCms.profileToProfile(Image.new(mode, (9, 9)), source, target, outputMode="RGB")


@pytest.mark.parametrize("name", hostile.profiles())
def test_a_hostile_profile_is_dropped_with_a_warning(name: str) -> None:
    warnings = list[str]()
    assert usable_profile(hostile.profiles()[name][1], warnings) is None
    (warning,) = warnings
    assert warning.startswith("colour profile dropped: ")
    assert len(warning) < 200


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_no_picture_is_converted_with_a_hostile_profile(depth: Depth) -> None:
    """Each of the costly profiles would take a minute."""
    for file in hostile.attacks():
        picture = open_image(file.data, max_pixels=10_000).decode(depth=depth)
        assert picture.icc_profile is None, file.name
        assert sum("profile dropped" in warning for warning in picture.warnings) == 1, file.name


def test_sixteen_bits_of_grey_are_not_converted_with_a_hostile_profile() -> None:
    for name, (mode, profile) in hostile.profiles().items():
        if mode != "L":
            continue
        for writer in (pyvips.Image.pngsave_buffer, pyvips.Image.tiffsave_buffer):
            image = pyvips.Image.new_from_array(np.full((9, 9), 4_660, np.uint16))
            image = image.copy(interpretation="grey16")
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
            data = writer(image, keep="icc")
            picture = open_image(data, max_pixels=10_000).decode(depth=np.uint16)
            assert (picture.rgb == 4_660).all(), name


def test_bytes_after_the_end_of_a_profile_are_cut_off() -> None:
    whole, warnings = icc.matrix("p3", icc.gamma(2.2)), list[str]()
    assert usable_profile(whole + b"more" * 99, warnings) == whole
    assert not warnings


def test_names_that_share_a_tag_and_small_overlaps_are_usual() -> None:
    whole = icc.matrix("p3", icc.gamma(2.2))
    # As in the small profiles of image optimisers, the white point begins within another tag.
    (offset,) = struct.unpack_from(">I", whole, 160)
    small = whole[:160] + struct.pack(">I", offset - 12) + whole[164:]
    assert usable_profile(small, []) == small


def test_a_file_without_a_profile_has_no_warning() -> None:
    warnings = list[str]()
    assert usable_profile(None, warnings) is None
    assert usable_profile(b"", warnings) is None
    assert not warnings


def test_every_beginning_of_a_profile_is_dropped() -> None:
    for whole in (icc.matrix("p3", icc.gamma(2.2)), icc.grey(icc.gamma(1.8))):
        for length in range(1, len(whole)):
            warnings = list[str]()
            assert usable_profile(whole[:length], warnings) is None
            assert len(warnings) == 1


def test_a_profile_that_is_too_large_is_dropped() -> None:
    warnings = list[str]()
    assert usable_profile(bytes(MAX_ICC_PROFILE_BYTES + 1), warnings) is None
    assert "at most 4,194,304 bytes, found 4,194,305" in warnings[0]


@pytest.mark.parametrize("profile", ["text", (1, 2), 7])
def test_a_profile_that_is_not_bytes_is_dropped(profile: object) -> None:
    warnings = list[str]()
    assert usable_profile(profile, warnings) is None
    assert "expected bytes, found" in warnings[0]
