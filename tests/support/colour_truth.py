"""What colours look like: computed from published numbers, and seen by colour-managed readers.

The matrices have D50 as white; they are those of Apple's and the ICC's profiles for Display P3 and
BT.2020, and of http://www.brucelindbloom.com/index.html?Eqn_RGB_XYZ_Matrix.html for the others. The
curves are those of the standards. Nothing here uses the code under test.
"""

import io
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image, ImageCms

Floats = NDArray[np.float64]


def srgb_curve(x: Floats) -> Floats:
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def bt709_curve(x: Floats) -> Floats:
    return np.where(x < 0.081, x / 4.5, ((x + 0.099) / 1.099) ** (1 / 0.45))


def pq_curve(x: Floats) -> Floats:
    """Relative to white of 203 cd/m², clipped there."""
    n = x ** (1 / 78.84375)
    light = (np.maximum(n - 0.8359375, 0) / (18.8515625 - 18.6875 * n)) ** (1 / 0.1593017578125)
    return np.minimum(light * 10_000 / 203, 1)


def hlg_curve(x: Floats) -> Floats:
    """Of a display of 1,000 cd/m², relative to white of 203 cd/m², clipped there."""
    high = (np.exp((x - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.minimum(np.where(x <= 0.5, x * x / 3, high) ** 1.2 * 1_000 / 203, 1)


def power(gamma: float) -> Callable[[Floats], Floats]:
    return lambda x: x**gamma


class Space(NamedTuple):
    """A matrix from linear RGB to XYZ with D50 as white, and the curve to linear RGB."""

    matrix: tuple[tuple[float, float, float], ...]
    curve: Callable[[Floats], Floats]


_SRGB: Final = (
    (0.4360747, 0.3850649, 0.1430804),
    (0.2225045, 0.7168786, 0.0606169),
    (0.0139322, 0.0971045, 0.7141733),
)
_P3: Final = (
    (0.51512, 0.29198, 0.15710),
    (0.24120, 0.69225, 0.06657),
    (-0.00105, 0.04189, 0.78407),
)
_2020: Final = (
    (0.673459, 0.165661, 0.125100),
    (0.279033, 0.675338, 0.045629),
    (-0.001931, 0.029984, 0.797172),
)
_PAL: Final = (
    (0.4552773, 0.3675500, 0.1413926),
    (0.2323025, 0.7077956, 0.0599019),
    (0.0145457, 0.1049154, 0.7057489),
)
_SMPTE: Final = (
    (0.4163290, 0.3931464, 0.1547446),
    (0.2216999, 0.7032549, 0.0750452),
    (0.0136576, 0.0913604, 0.7201920),
)
_NTSC: Final = (
    (0.6343706, 0.1852204, 0.1446290),
    (0.3109496, 0.5915984, 0.0974520),
    (-0.0011817, 0.0555518, 0.7708399),
)
_ADOBE: Final = (
    (0.6097559, 0.2052401, 0.1492240),
    (0.3111242, 0.6256560, 0.0632197),
    (0.0194811, 0.0608902, 0.7448387),
)
_PROPHOTO: Final = (
    (0.7976749, 0.1351917, 0.0313534),
    (0.2880402, 0.7118741, 0.0000857),
    (0.0000000, 0.0000000, 0.8252100),
)

SPACES: Final = {
    "srgb": Space(_SRGB, srgb_curve),
    "bt709": Space(_SRGB, bt709_curve),
    "gamma-2.2": Space(_SRGB, power(2.2)),
    "gamma-1.8": Space(_SRGB, power(1.8)),
    "linear": Space(_SRGB, power(1.0)),
    "p3": Space(_P3, srgb_curve),
    "p3-gamma-2.2": Space(_P3, power(2.2)),
    "bt2020": Space(_2020, bt709_curve),
    "pal": Space(_PAL, srgb_curve),
    "smpte-c": Space(_SMPTE, bt709_curve),
    "ntsc": Space(_NTSC, power(2.2)),
    "adobe-rgb": Space(_ADOBE, power(2.19921875)),
    "prophoto": Space(_PROPHOTO, power(1.8)),
    "pq": Space(_2020, pq_curve),
    "hlg": Space(_2020, hlg_curve),
}


def true_srgb(pixels: NDArray[Any], space: str) -> Floats:
    """Return what (…, 3) pixels of 8 or 16 bits look like: sRGB, 0–255, clipped to its gamut."""
    matrix, curve = SPACES[space]
    light = curve(pixels / np.iinfo(pixels.dtype).max)
    return _xyz_to_srgb(light @ np.array(matrix).T)


def lab_to_srgb(lab: Floats) -> Floats:
    """Return what L*a*b* (…, 3) with D50 as white look like: sRGB, 0–255, clipped to its gamut."""
    y = (lab[..., 0] + 16) / 116
    roots = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    ratios = np.where(roots > 6 / 29, roots**3, 108 / 841 * (roots - 4 / 29))
    return _xyz_to_srgb(ratios * (0.9642, 1.0, 0.8249))


def _xyz_to_srgb(xyz: Floats) -> Floats:
    linear = np.clip(xyz @ np.linalg.inv(_SRGB).T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(255 * encoded)


def seen_by_lcms(data: bytes) -> Floats:
    """Return the (H, W, 3) colours of an image in sRGB, 0–255, as Pillow and lcms show them."""
    image = Image.open(io.BytesIO(data))
    colours = image.convert("RGB")
    profile = image.info.get("icc_profile")
    if profile:
        assert profile[16:20] == b"RGB "
        shown = ImageCms.profileToProfile(
            colours,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.NOOPTIMIZE,
        )
        assert shown is not None
        colours = shown
    return np.asarray(colours, np.float64)


def seen_by_libvips(data: bytes) -> Floats:
    """Return the (H, W, 3) colours of an image in sRGB, 0–255, as libvips shows them.

    Of 16 bits it is shown the high byte.
    """
    image = pyvips.Image.new_from_buffer(data, "")
    if image.format == "ushort":
        # In 16 bits, lcms evaluates a coarse grid instead of the profile.
        image = (image >> 8).cast("uchar").copy(interpretation="srgb")
    if image.get_typeof("icc-profile-data"):
        image = image.icc_transform("srgb", embedded=True, intent="relative")
    return np.asarray(image.numpy()[:, :, :3], np.float64)
