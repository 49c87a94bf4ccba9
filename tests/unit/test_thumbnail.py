"""Thumbnails of reports look like their pictures."""

import io
from base64 import b64decode

import numpy as np
from PIL import Image

from producer.report.thumbnail import as_data_uri, read_upright
from tests.support import icc_profiles as icc
from tests.support.colour_truth import seen_by_lcms, true_srgb


def thumbnail(image: Image.Image, profile: bytes) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if image.mode == "RGB" else "TIFF", icc_profile=profile)
    buffer.seek(0)
    read = read_upright(buffer, side=64)
    assert read is not None
    uri = as_data_uri(read).uri
    assert uri is not None
    return b64decode(uri.partition(",")[2])


def test_a_thumbnail_keeps_the_colours_of_a_picture() -> None:
    colour = np.full((64, 64, 3), (230, 40, 40), np.uint8)
    data = thumbnail(Image.fromarray(colour), icc.matrix("p3", icc.gamma(2.2)))
    truth = true_srgb(colour, "p3-gamma-2.2")
    np.testing.assert_allclose(seen_by_lcms(data)[32, 32], truth[32, 32], atol=6)


def test_a_profile_that_is_large_or_for_other_pixels_is_left_out() -> None:
    large = icc.matrix("p3", icc.samples(range(0, 65_536, 16)))
    data = thumbnail(Image.new("RGB", (64, 64), "red"), large)
    assert "icc_profile" not in Image.open(io.BytesIO(data)).info
    inks = Image.new("CMYK", (64, 64), (0, 255, 255, 0))
    data = thumbnail(inks, icc.profile(b"CMYK", icc.named("press")))
    assert "icc_profile" not in Image.open(io.BytesIO(data)).info
