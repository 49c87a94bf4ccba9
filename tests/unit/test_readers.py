"""One truth a file: the 8-bit pixels of every PNG and TIFF are the high byte of its 16-bit pixels.

Files over everything that decides how samples are stored are compared with what tifffile and pypng
read from them. READER_CASES sets how many per seed; a failure names its file.
"""

import io
import os
import struct
from typing import Any, Final

import numpy as np
import pytest
import pyvips
import tifffile
from numpy.typing import NDArray
from PIL import Image
from png import Writer

from tests.support import png_pictures, tiff_pictures
from tests.support.hostile import png as png_files
from tests.support.icc_profiles import gamma, grey, matrix, real_profiles
from tests.support.tiff_pictures import Tiff
from worker.errors import UnsupportedImage
from worker.imaging.decode import Picture, open_image
from worker.imaging.libvips import read_strips

CASES: Final = int(os.environ.get("READER_CASES", "60"))
SEEDS: Final = range(4)
PROFILES: Final = {
    "grey": grey(gamma(1.8)),
    "rgb": matrix("p3", gamma(2.2)),
    "cmyk": real_profiles()["press of 8 bits"],
}


def read(data: bytes) -> Picture:
    """Return the 16-bit picture, after a comparison with the 8-bit one."""
    plain = open_image(data, max_pixels=10**6).decode()
    wide = open_image(data, max_pixels=10**6).decode(depth=np.uint16)
    assert plain.rgb.dtype == np.uint8
    assert wide.rgb.dtype == np.uint16
    assert np.array_equal(plain.rgb, wide.rgb >> 8)
    assert (plain.alpha is None) == (wide.alpha is None)
    if plain.alpha is not None and wide.alpha is not None:
        assert np.array_equal(plain.alpha, wide.alpha >> 8)
    assert (plain.icc_profile, plain.warnings) == (wide.icc_profile, wide.warnings)
    return wide


def compare(
    picture: Picture,
    rgb: NDArray[np.float64] | None,
    alpha: NDArray[np.float64] | None,
    *,
    tolerance: float,
) -> None:
    """Compare with levels in 0…1."""
    if rgb is not None:
        assert np.abs(picture.rgb / 65535 - rgb).max() <= tolerance
    assert (picture.alpha is None) == (alpha is None)
    if picture.alpha is not None and alpha is not None:
        assert np.abs(picture.alpha / 65535 - alpha).max() <= tolerance


@pytest.mark.parametrize("seed", SEEDS)
def test_every_png_has_one_truth(seed: int) -> None:
    for png in png_pictures.pngs(seed, CASES, PROFILES):
        try:
            picture = read(png.data)
            rgb, alpha = png_pictures.expected(png)
            is_converted = png.profile is not None and png.kind.startswith("grey")
            compare(picture, None if is_converted else rgb, alpha, tolerance=0.51 / 65535)
            assert picture.icc_profile == (None if is_converted else png.profile)
        except Exception as error:
            error.add_note(str(png))
            raise


@pytest.mark.parametrize("seed", SEEDS)
def test_every_tiff_has_one_truth(seed: int) -> None:
    read_cases = 0
    for tiff in tiff_pictures.tiffs(seed, CASES, PROFILES):
        try:
            if is_refused(tiff):
                with pytest.raises(UnsupportedImage, match=r"found .*, \d+ samples? of \d+-bit"):
                    open_image(tiff.data, max_pixels=10**6)
                continue
            compare_tiff(tiff)
            read_cases += 1
        except Exception as error:
            error.add_note(str(tiff))
            raise
    assert read_cases > CASES / 2


def compare_tiff(tiff: Tiff) -> None:
    picture = read(tiff.data)
    rgb, alpha = tiff_pictures.expected(tiff)
    is_by_pillow = tiff.compression in ("zstd", "lzma")
    is_rgb = tiff.photometric in ("rgb", "palette")
    is_converted = tiff.profile is not None and not is_rgb
    # Wide samples are rounded to 16 bits, premultiplied inks twice.
    tolerance = 0.51 / 255 if tiff.kind == "u1" else 1.6 / 65535
    if tiff.kind == "u2" and is_by_pillow:
        assert any(text.startswith("bit_depth: 8 of 16 bits") for text in picture.warnings)
        tolerance = 2 / 255
    elif tiff.kind == "u1" and tiff.photometric in ("palette", "separated"):
        # Of a palette's 16 bits 8 are kept; premultiplied inks are rounded twice.
        tolerance = 1.5 / 255
    compare(picture, None if is_converted else rgb, alpha, tolerance=tolerance)
    assert picture.icc_profile == (tiff.profile if is_rgb else None)
    ignored = len(tiff.extras) - (alpha is not None)
    is_float = tiff.kind[0] == "f"
    words = " ".join(picture.warnings)
    assert ("extra samples ignored" in words) == (ignored > 0)
    assert ("0 is read as black and 1 as white" in words) == is_float


def is_refused(tiff: Tiff) -> bool:
    """Return whether the samples are such as neither library reads."""
    if tiff.kind == "i2" or (tiff.photometric == "separated" and tiff.kind in ("u4", "f2", "f4")):
        return True
    if tiff.compression not in ("zstd", "lzma"):
        return False
    if tiff.bigtiff and tiff.byteorder == ">":
        return True
    extras = len(tiff.extras)
    is_colour = tiff.photometric in ("rgb", "separated")
    if tiff.kind not in (("u1", "u2") if is_colour else ("u1",)) or "assocalpha" in tiff.extras:
        return True
    if tiff.planar:
        return (tiff.photometric, tiff.extras) not in {
            ("rgb", ()),
            ("rgb", ("unassalpha",)),
            ("separated", ()),
        }
    most = {"rgb": 1, "minisblack": 1}.get(tiff.photometric, 0)
    return extras > most or (tiff.photometric, tiff.extras) == ("minisblack", ("unspecified",))


RANDOM: Final = np.random.default_rng(3)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_grey_tiffs_of_few_bits(bits: int, photometric: str) -> None:
    top = 2**bits - 1
    samples = RANDOM.integers(0, top, (24, 37), np.uint8, endpoint=True)
    levels = samples if photometric == "minisblack" else top - samples
    for byteorder in ("<", ">"):
        for tile in (None, (16, 16)):
            data = tiff(
                samples.astype(bool) if bits == 1 else samples,
                bitspersample=bits,
                photometric=photometric,
                byteorder=byteorder,
                tile=tile,
            )
            assert np.array_equal(read(data).rgb[:, :, 0], levels * np.uint16(65535 // top))


@pytest.mark.parametrize("compression", [None, "group3", "group4", "tiff_ccitt"])
def test_fax_tiffs(compression: str | None) -> None:
    image = Image.fromarray(RANDOM.integers(0, 256, (24, 37), np.uint8)).convert("1")
    picture = read(saved(image, compression=compression))
    assert np.array_equal(picture.rgb[:, :, 0] > 0, np.asarray(image))


@pytest.mark.parametrize("colours", [2, 4, 16, 256])
def test_palettes_of_few_bits(colours: int) -> None:
    image = Image.fromarray(RANDOM.integers(0, 256, (24, 37, 3), np.uint8)).quantize(colours)
    assert np.array_equal(read(saved(image)).rgb >> 8, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    "options", [{}, {"tile": (16, 16)}, {"planarconfig": "separate"}, {"compression": "lzw"}]
)
def test_ycbcr_that_is_stored_without_jpeg(options: dict[str, Any]) -> None:
    image = Image.fromarray(RANDOM.integers(0, 256, (24, 37, 3), np.uint8)).convert("YCbCr")
    samples = np.asarray(image)
    if "planarconfig" in options:
        samples = np.moveaxis(samples, -1, 0)
    picture = read(tiff(np.ascontiguousarray(samples), photometric="ycbcr", **options))
    difference = (picture.rgb >> 8).astype(int) - np.asarray(image.convert("RGB"))
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_jpeg_in_tiff(subsampling: tuple[int, int], tile: tuple[int, int] | None) -> None:
    ramp = Image.linear_gradient("L").resize((64, 48))
    bands = ramp, ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT), ramp
    pixels = np.asarray(Image.merge("RGB", bands))
    options = {"compression": "jpeg", "subsampling": subsampling, "tile": tile}
    picture = read(tiff(pixels, photometric="rgb", **options))
    assert np.abs((picture.rgb >> 8).astype(int) - pixels).max() <= 12


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_of_a_png_s_key_the_lowest_bits_count(bits: int) -> None:
    """The key has 16 bits in the file, whatever the samples have."""
    written = io.BytesIO()
    Writer(2, 2, greyscale=True, bitdepth=bits, transparent=2).write(written, [[0, 1], [2, 3]])
    other = png_files.chunk(b"tRNS", struct.pack(">H", 2 + 2**bits))
    data = written.getvalue().replace(png_files.chunk(b"tRNS", struct.pack(">H", 2)), other)
    assert other in data
    alpha = read(data).alpha
    assert alpha is not None
    assert alpha.tolist() == [[65535, 65535], [0, 65535]]


@pytest.mark.parametrize("height", [1, 70_000])
def test_strips_of_narrow_pictures_have_few_rows(height: int) -> None:
    written = np.arange(height, dtype=np.uint32).reshape(height, 1, 1)
    strips = list(read_strips(pyvips.Image.new_from_array(written)))
    assert all(len(pixels) <= 2**15 for _, pixels in strips)
    assert np.array_equal(np.concatenate([pixels for _, pixels in strips]), written)


def tiff(samples: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, metadata=None, **options)
    return buffer.getvalue()


def saved(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", **options)
    return buffer.getvalue()
