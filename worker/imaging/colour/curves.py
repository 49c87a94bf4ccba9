"""Transfer functions: from an encoded value of 0…1 to linear light, relative to white.

Sources: Recommendation ITU-T H.273 (2024), table 3, for the functions; ITU-R BT.2100-2, tables 4
and 5, for PQ and HLG; ITU-R BT.2408-7, section 2.2, for their reference white.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HDR_WHITE: Final = 203.0
"""cd/m² of diffuse white in PQ and HLG, by BT.2408."""


class Parametric(NamedTuple):
    """`(a x + b) ** gamma`, and `c x` below `d`: a parametric curve of type 3 in ICC.1:2022."""

    gamma: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0


Sampled = Callable[[Floats], Floats]
"""Takes and returns values of 0…1."""
Curve = Parametric | Sampled


def evaluate(curve: Curve, encoded: Floats) -> Floats:
    """Return linear light of 0…1 for encoded values of 0…1."""
    if not isinstance(curve, Parametric):
        return curve(encoded)
    power = np.maximum(curve.a * encoded + curve.b, 0) ** curve.gamma
    return np.clip(np.where(encoded < curve.d, curve.c * encoded, power), 0, 1)


def encode_srgb(light: NDArray[Any]) -> NDArray[Any]:
    """Return the values of 0…1 that sRGB has for linear light, which is clipped to 0…1."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _power_after_line(exponent: float, alpha: float, beta: float, slope: float) -> Parametric:
    """Return the inverse of `alpha L ** exponent - (alpha - 1)`, and `slope L` below `beta`."""
    return Parametric(1 / exponent, 1 / alpha, (alpha - 1) / alpha, 1 / slope, slope * beta)


SRGB: Final = Parametric(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT709: Final = _power_after_line(0.45, 1.099296826809442, 0.018053968510807, 4.5)
SMPTE240: Final = _power_after_line(0.45, 1.111572195921731, 0.022821585529445, 4.0)
SMPTE428: Final = Parametric(2.6, a=(52.37 / 48) ** (1 / 2.6))


def logarithmic(decades: float) -> Sampled:
    """Return the inverse of `1 + log10(L) / decades`, which is 0 for the darkest light."""

    def linear(encoded: Floats) -> Floats:
        return np.where(encoded > 0, 10 ** (decades * (encoded - 1)), 0)

    return linear


def pq(encoded: Floats) -> Floats:
    """Perceptual quantisation (SMPTE ST 2084), relative to `HDR_WHITE` and clipped there."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = encoded ** (1 / m2)
    light = 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return np.minimum(light / HDR_WHITE, 1)


def hlg(encoded: Floats) -> Floats:
    """Hybrid log-gamma on a display of 1,000 cd/m², relative to `HDR_WHITE` and clipped there.

    The display's gamma of 1.2 is applied to each channel, which is exact for greys.
    """
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(encoded <= 0.5, encoded**2 / 3, (np.exp((encoded - c) / a) + b) / 12)
    return np.minimum(1_000 * scene**1.2 / HDR_WHITE, 1)
