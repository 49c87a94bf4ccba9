"""One truth a file: the 8-bit pixels of every PNG and TIFF are the high byte of its 16-bit pixels.

Files over everything that decides how samples are stored are compared with what tifffile and pypng
read from them. READER_CASES sets how many per seed; a failure names its file.
"""

import os
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support import png_pictures, tiff_pictures
from tests.support.icc_profiles import gamma, grey, matrix, real_profiles
from tests.support.tiff_pictures import Tiff
from worker.errors import UnsupportedImage
from worker.imaging.decode import Picture, open_image

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
    tolerance = 0.51 / (255 if tiff.kind == "u1" else 32767)
    if tiff.kind == "u2" and is_by_pillow:
        assert picture.warnings[-1].startswith("bit_depth: 8 of 16 bits are kept")
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
