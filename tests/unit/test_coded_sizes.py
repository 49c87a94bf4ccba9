"""The sizes of AVIF and HEIC are those of their coded data, whatever their boxes say."""

import io

import numpy as np
import pytest
from PIL import Image

from producer import Options
from tests.support.hostile import coded
from tests.support.hostile.originals import originals
from tests.support.memory_costs import cost
from worker.errors import CorruptImage, DecompressionBomb
from worker.imaging.bombs import av1, hevc
from worker.imaging.bombs.heif import decoded_pixels
from worker.imaging.decode import open_image

LIMIT = 1_000_000
SIZES = ((1_200, 1_000), (12_000, 12_000), (65_536, 17), (65_536, 65_536))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_coded_picture_larger_than_the_limit_is_refused(width: int, height: int) -> None:
    header = coded.DELIMITER + coded.sequence(width, height)
    own = coded.DELIMITER + coded.frame_of_its_own_size(width, height)
    small = coded.DELIMITER + coded.sequence(64, 64)
    files = {
        "sequence": coded.avif(header),
        "alpha": coded.avif(small, header),
        "configuration": coded.avif(small, configuration=coded.sequence(width, height)),
        "second sequence": coded.avif(small + coded.sequence(width, height)),
        "frame": coded.avif(own),
        "moving": coded.moving(width, height),
        "HEVC": coded.hevc(width, height),
    }
    for name, data in files.items():
        with pytest.raises(DecompressionBomb, match="found one of"):
            pytest.fail(f"{name}: {decoded_pixels(data, LIMIT)}")


def test_a_large_picture_in_a_small_file_is_decoded_within_a_larger_estimate() -> None:
    image = open_image(coded.avif(coded.BLACK_24), max_pixels=100_000_000)
    assert image.header.size == (64, 64)
    assert image.header.decoded_pixels == 24_000_000
    plain = Options(enabled=False)
    hidden = cost(plain, format="AVIF", size=(64, 64), decoded_pixels=24_000_000)
    assert hidden > 17 * 24_000_000


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("size", [(64, 64), (123, 97)])
def test_ordinary_files_have_the_size_that_they_state(mode: str, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*size[::-1], 4), np.uint8)
    image = Image.fromarray(noise).convert(mode)
    pixels = size[0] * size[1]
    for options in ({}, {"save_all": True, "append_images": [image.rotate(180)]}):
        assert decoded_pixels(_saved(image, "AVIF", speed=10, **options), 10**8) == pixels
    # HEVC fills up to whole blocks.
    blocks = (-(-size[0] // 64) * 64) * (-(-size[1] // 64) * 64)
    assert pixels <= decoded_pixels(_saved(image, "HEIF"), 10**8) <= blocks


def test_units_and_items_without_end_are_refused() -> None:
    with pytest.raises(DecompressionBomb, match="at most 1,000 units"):
        av1.coded_pixels(coded.DELIMITER * 1_001)
    with pytest.raises(DecompressionBomb, match="at most 1,000 units"):
        hevc.coded_pixels(b"\0\0\0\1\x02" * 1_001 + bytes(9), b"")
    shared = [(number, number, 500) for number in range(3, 2_500)]
    data = coded.avif(coded.BLACK_24, extents=shared)
    with pytest.raises(DecompressionBomb, match="at most 2,000 coded items"):
        decoded_pixels(data, 10**8)


@pytest.mark.parametrize("name", ["AVIF", "HEIF"])
def test_metadata_is_bounded(name: str) -> None:
    small, two = Image.new("RGB", (64, 48)), bytes(2 * 2**20)
    assert decoded_pixels(_saved(small, name, xmp=two), 10**8) <= 64 * 64
    with pytest.raises(DecompressionBomb, match="1,048,576 bytes of EXIF"):
        decoded_pixels(_saved(small, name, exif=b"Exif\0\0II*\0" + two), 10**8)
    with pytest.raises(DecompressionBomb, match="16,777,216 bytes of metadata"):
        decoded_pixels(_saved(small, name, xmp=two * 9), 10**8)


def test_boxes_that_occur_twice_are_corrupt() -> None:
    data = originals()["photo.avif"]
    assert data.count(b"idat") == 0
    twice = data.replace(b"pitm", b"iloc", 1)
    with pytest.raises(CorruptImage, match="expected one box iloc"):
        decoded_pixels(twice, 10**8)


def _saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()
