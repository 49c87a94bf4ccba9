"""Every output format: pixels, colour profile and resolution, and no other metadata."""

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from worker.errors import OptionConflict
from worker.imaging.decode import open_image
from worker.imaging.encode import FORMATS, EncodeSettings, check_encodable, encode

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = ("png", "webp", "tiff")


def cut_out(kind: type[np.uint8] | type[np.uint16] = np.uint8) -> np.ndarray[Any, np.dtype[Any]]:
    """Return a smooth RGBA image, which lossy formats hardly change."""
    y, x = np.mgrid[0:64, 0:96]
    top = np.iinfo(kind).max
    layers = (x / 95, y / 63, (x + y) / 158, x / 95)
    return np.dstack([(layer * top).astype(kind) for layer in layers])


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "zip"])
def test_pixels_profile_and_resolution(name: str) -> None:
    rgba = cut_out()
    pixels = rgba[:, :, :3] if name == "jpeg" else rgba
    data = encode(
        pixels, image_format=name, settings=EncodeSettings(icc_profile=SRGB, dpi=(300, 150))
    )
    written = opened(data)
    assert written.mode == ("RGB" if name == "jpeg" else "RGBA")
    assert written.info["icc_profile"] == SRGB
    levels = np.asarray(written).astype(int)
    if name in LOSSLESS:
        assert np.array_equal(levels, pixels)
    else:
        assert np.abs(levels - pixels).mean() < 3
    exif = written.getexif()
    dpi = written.info.get("dpi") or (exif[282], exif[283])
    assert [round(float(value)) for value in dpi] == [300, 150]
    assert 0x0112 not in exif or exif[0x0112] == 1


@pytest.mark.parametrize("name", ["png", "webp", "avif", "tiff"])
def test_a_mask_is_one_channel(name: str) -> None:
    grey = np.ascontiguousarray(cut_out()[:, :, 0])
    written = opened(encode(grey, image_format=name, settings=EncodeSettings()))
    levels = np.asarray(written.convert("L")).astype(int)
    assert np.abs(levels - grey).max() <= (0 if name in LOSSLESS else 6)
    if name in ("png", "tiff"):
        assert written.mode == "L"


def test_an_unknown_resolution_is_not_written() -> None:
    for name in ("png", "webp", "avif", "jpeg"):
        written = opened(
            encode(cut_out()[:, :, :3].copy(), image_format=name, settings=EncodeSettings())
        )
        assert "dpi" not in written.info or written.info["dpi"] == (72, 72), name
        assert 282 not in written.getexif(), name


@pytest.mark.parametrize("name", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits(name: str, channels: int) -> None:
    deep = np.ascontiguousarray(cut_out(np.uint16)[:, :, :channels])
    settings = EncodeSettings(icc_profile=SRGB if channels > 1 else None, dpi=(300, 300))
    data = encode(deep[:, :, 0] if channels == 1 else deep, image_format=name, settings=settings)
    written = opened(data)
    back = open_image(data, max_pixels=10_000).decode(depth=np.uint16)
    assert np.array_equal(back.rgb, np.broadcast_to(deep[:, :, :3], back.rgb.shape))
    if back.alpha is not None:
        assert np.array_equal(back.alpha, deep[:, :, 3])
    assert round(float(written.info["dpi"][0])) == 300
    assert written.info.get("icc_profile") == settings.icc_profile


def test_a_zip_holds_colour_and_alpha() -> None:
    rgba = cut_out()
    data = encode(
        rgba, image_format="zip", settings=EncodeSettings(icc_profile=SRGB, dpi=(300, 300))
    )
    assert data == encode(
        rgba, image_format="zip", settings=EncodeSettings(icc_profile=SRGB, dpi=(300, 300))
    )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["colour.jpg", "alpha.png"]
        colour, alpha = (opened(archive.read(name)) for name in archive.namelist())
    assert colour.format == "JPEG"
    assert colour.info["icc_profile"] == SRGB
    assert np.abs(np.asarray(colour).astype(int) - rgba[:, :, :3]).mean() < 3
    assert np.array_equal(np.asarray(alpha), rgba[:, :, 3])
    with zipfile.ZipFile(
        io.BytesIO(encode(rgba[:, :, :3], image_format="zip", settings=EncodeSettings()))
    ) as z:
        assert np.asarray(opened(z.read("alpha.png"))).min() == 255


@pytest.mark.parametrize("name", ["webp", "avif", "zip"])
def test_lower_quality_gives_smaller_files(name: str) -> None:
    noise = np.random.default_rng(8).integers(0, 256, (64, 64, 4), np.uint8)
    sizes = [
        len(encode(noise, image_format=name, settings=EncodeSettings(quality=quality)))
        for quality in (10, 95)
    ]
    assert sizes[0] < sizes[1]


def test_a_size_beyond_a_format_s_limit_is_refused() -> None:
    check_encodable((16_383, 1), image_format="webp")
    with pytest.raises(OptionConflict, match="at most 16,383 pixels a side, found 16384×1"):
        check_encodable((16_384, 1), image_format="webp")
