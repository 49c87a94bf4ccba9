"""Colours in CIE L*a*b*, which are absolute, to sRGB."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worker.imaging.colour.code_points import BT709_PRIMARIES
from worker.imaging.colour.curves import encode_srgb
from worker.imaging.colour.icc import D50, rgb_to_d50

_FROM_D50: Final = np.linalg.inv(rgb_to_d50(BT709_PRIMARIES)).astype(np.float32)
_DARK: Final = 6 / 29


def lab_to_srgb(lab: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return sRGB (…, 3) of L* 0…100, a* and b* (…, 3) with D50 as white.

    Colours outside of sRGB are clipped.
    """
    y = (lab[..., 0] + 16) / 116
    x, z = y + lab[..., 1] / 500, y - lab[..., 2] / 200
    xyz = cube_of_lightness(np.stack([x, y, z], axis=-1)) * np.array(D50, np.float32)
    return np.asarray(np.rint(encode_srgb(xyz @ _FROM_D50.T) * 65535), np.uint16)


def cube_of_lightness(root: NDArray[Any]) -> NDArray[Any]:
    """Return X, Y or Z relative to white for the root in the definition of L*a*b*.

    For Y the root is `(L* + 16) / 116`.
    """
    line = 3 * _DARK**2 * (root - 4 / 29)
    return np.where(root > _DARK, root**3, line)
