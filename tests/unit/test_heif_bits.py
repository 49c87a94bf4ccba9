"""HEIC and AVIF of more than 8 bits per channel keep them."""

import io
from typing import Any, Final, Literal

import numpy as np
import pillow_heif
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image

from producer.contract.options import Options
from tests.support.cutting import pass_alone
from tests.support.hostile import coded
from tests.support.hostile.corpus import corpus
from tests.support.hostile.heif import box
from tests.support.stated_colours import cicp, decoded, png, saved
from worker.errors import CorruptImage
from worker.imaging.bombs.heif_coded import item_data
from worker.imaging.bombs.heif_picture import av1_bits
from worker.imaging.bombs.iso_boxes import boxes
from worker.imaging.decode import open_image

WIDTH, HEIGHT = 64, 64
RAMP: Final = np.add.outer(16 * np.arange(HEIGHT), np.arange(WIDTH)) % 1024
"""All levels of 10 bits."""
GREY: Final = (RAMP * 65535 // 1023).astype(np.uint16)
RGB: Final = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
TOLERANCE: Final = 400
"""Of 65,535: some levels of 10 bits."""
Bits = Literal[10, 12]


def heic(pixels: NDArray[np.uint16], mode: str) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.encode(
        mode,
        (WIDTH, HEIGHT),
        np.ascontiguousarray(pixels).tobytes(),
        buffer,
        quality=-1,
        chroma=444,
    )
    return buffer.getvalue()


def avif(pixels: NDArray[np.uint16], bits: Bits = 10) -> bytes:
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels), interpretation="rgb16")
    data: bytes = image.heifsave_buffer(
        compression="av1", bitdepth=bits, Q=100, subsample_mode="off", effort=0
    )
    return data


def deep(data: bytes) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the pixels in 16 bits, whose high byte are those in 8."""
    picture, shallow = decoded(data, np.uint16), decoded(data)
    assert np.array_equal(picture.rgb >> 8, shallow.rgb)
    assert picture.warnings == shallow.warnings == ()
    if picture.alpha is not None and shallow.alpha is not None:
        assert np.array_equal(picture.alpha >> 8, shallow.alpha)
    assert (picture.alpha is None) == (shallow.alpha is None)
    return picture.rgb, picture.alpha


def difference(found: NDArray[Any], wanted: NDArray[Any]) -> int:
    return int(np.abs(found.astype(int) - wanted).max())


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("name", ["HEIC", "AVIF"])
def test_pixels_of_more_than_8_bits_keep_them(
    name: str, bits: Bits, alpha: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    pixels = np.dstack([RGB, GREY.T]) if alpha else RGB
    data = avif(pixels, bits) if name == "AVIF" else heic(pixels, "RGBA;16" if alpha else "RGB;16")
    rgb, found = deep(data)
    assert difference(rgb, RGB) <= TOLERANCE
    assert len(np.unique(rgb)) > 500
    assert (found is not None) == alpha
    if found is not None:
        assert difference(found, GREY.T) <= TOLERANCE


def test_grey_of_more_than_8_bits_keeps_them() -> None:
    rgb, _ = deep(heic(GREY, "I;16"))
    assert difference(rgb, np.dstack([GREY] * 3)) <= TOLERANCE
    assert len(np.unique(rgb)) > 500


@pytest.mark.parametrize("write", [avif, lambda pixels: heic(pixels, "RGB;16")])
def test_white_and_black_are_the_ends_of_the_range(write: Any) -> None:
    white, _ = deep(write(np.full((HEIGHT, WIDTH, 3), 65535, np.uint16)))
    black, _ = deep(write(np.zeros((HEIGHT, WIDTH, 3), np.uint16)))
    assert (int(white.max()), int(black.min())) == (65535, 0)


@pytest.mark.parametrize("name", ["HEIC", "AVIF"])
def test_premultiplied_colours_become_straight(name: str) -> None:
    half = np.full((HEIGHT, WIDTH, 1), 32768, np.uint16)
    pixels = np.dstack([RGB // 2, half])
    if name == "HEIC":
        data = heic(pixels, "RGBa;16")
    else:
        whole = avif(pixels)
        data = coded.avif(*items(whole), settings=av1c(whole), is_premultiplied=True)
    rgb, _ = deep(data)
    assert difference(rgb, RGB) <= 2 * TOLERANCE


def test_an_avif_is_turned_as_its_boxes_say() -> None:
    whole = avif(RGB[:, :48])
    turned = coded.avif(
        *items(whole)[:1], size=(48, 64), settings=av1c(whole), transforms=[box(b"irot", b"\1")]
    )
    opened = open_image(turned, max_pixels=10_000)
    assert opened.header.size == (64, 48)
    picture = opened.decode(depth=np.uint16)
    assert (picture.size, difference(picture.rgb, np.rot90(RGB[:, :48])) <= TOLERANCE) == (
        (64, 48),
        True,
    )


def test_an_animation_of_more_than_8_bits_is_a_warning() -> None:
    frames = [Image.fromarray((RGB >> shift).astype(np.uint8)) for shift in (8, 9)]
    data = saved(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert (data[8:12], av1_bits(data)) == (b"avis", 8)
    data = b"av1C".join(
        (part[:2] + bytes((part[2] | 64,)) + part[3:] if number else part)
        for number, part in enumerate(data.split(b"av1C"))
    )
    assert av1_bits(data) == 10
    header = open_image(data, max_pixels=10_000).header
    assert header.bits == 8
    assert "bit_depth: 8 of 10 bits are kept of this AVIF" in header.warnings


def test_high_dynamic_range_keeps_its_levels_and_its_profile() -> None:
    buffer = io.BytesIO()
    pillow_heif.encode(
        "RGB;16",
        (WIDTH, HEIGHT),
        RGB.tobytes(),
        buffer,
        quality=-1,
        chroma=444,
        color_primaries=9,
        transfer_characteristics=16,
        matrix_coefficients=9,
        full_range_flag=1,
    )
    image, warnings = pass_alone(buffer.getvalue(), Options(bit_depth=16))
    assert [warning.partition(",")[0] for warning in warnings] == ["colour: PQ"]
    written = decoded(image, np.uint16)
    assert written.icc_profile == decoded(png(RGB, cicp(9, 16)), np.uint16).icc_profile
    assert difference(written.rgb, RGB) <= TOLERANCE


@pytest.mark.parametrize("write", [avif, lambda pixels: heic(pixels, "RGB;16")])
def test_a_file_that_is_cut_short_is_corrupt(write: Any) -> None:
    data = write(RGB)
    for part in (0.6, 0.9):
        with pytest.raises(CorruptImage):
            open_image(data[: int(part * len(data))], max_pixels=10_000).decode(depth=np.uint16)


def items(data: bytes) -> tuple[bytes, bytes]:
    """Return the coded data of the picture and of its alpha."""
    start, end = next(
        (start, end) for kind, start, end in boxes(data, 0, len(data)) if kind == b"meta"
    )
    picture, alpha = (
        item_data(data, start + 4, end, item, limit=len(data))
        for item in (coded.PICTURE, coded.ALPHA)
    )
    return picture, alpha


def av1c(data: bytes) -> bytes:
    """Return the four bytes of the first configuration."""
    return data[data.index(b"av1C") + 4 :][:4]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_heic_whose_pixels_are_not_of_its_size_is_corrupt(depth: Any) -> None:
    data = next(file.data for file in corpus() if file.name == "deep/flipped-15.heic")
    with pytest.raises(CorruptImage, match=r"expected 64×56 pixels.*found 64×53"):
        open_image(data, max_pixels=10_000).decode(depth=depth)
