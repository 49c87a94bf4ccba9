"""Grey pixels with an ICC profile for grey, to sRGB.

Colour libraries evaluate a curve for 16 bits at a few dozen points only, which shows in the dark.
Source: ICC.1:2022, 8.3.4, F.2, 10.6 and 10.18.
"""

import struct
from typing import Final

import numpy as np

from worker.imaging.bombs.icc_tags import CURVE_PARAMETERS
from worker.imaging.colour.curves import Floats, encode_srgb
from worker.imaging.colour.icc import find_tag
from worker.imaging.colour.lab import cube_of_lightness

_CONNECTION_SPACE: Final = slice(20, 24)


def grey_to_srgb(profile: bytes, levels: Floats) -> Floats | None:
    """Return the sRGB levels, 0…1, of grey levels of 0…1.

    `profile` is a sound profile for grey. Return None if it has a table instead of a curve.
    """
    tag = find_tag(profile, b"kTRC")
    if tag is None or find_tag(profile, b"A2B0") is not None:
        return None
    light = _evaluate_tag(tag, levels)
    if profile[_CONNECTION_SPACE] == b"Lab ":
        # The curve leads to L*.
        light = cube_of_lightness((100 * light + 16) / 116)
    return np.asarray(encode_srgb(light))


def _evaluate_tag(tag: bytes, levels: Floats) -> Floats:
    """Return the values of a tag of the type `para` or `curv`."""
    if tag.startswith(b"para"):
        (function,) = struct.unpack_from(">H", tag, 8)
        numbers = np.frombuffer(tag, ">i4", CURVE_PARAMETERS[function], 12) / 65536
        return _evaluate_parametric(function, numbers, levels)
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return levels
    if count == 1:
        (gamma,) = struct.unpack_from(">H", tag, 12)
        return np.asarray(levels ** (gamma / 256))
    samples = np.frombuffer(tag, ">u2", count, 12) / 65535
    return np.interp(levels, np.linspace(0, 1, count), samples)


def _evaluate_parametric(function: int, numbers: Floats, levels: Floats) -> Floats:
    gamma, *rest = numbers
    a, b = rest[:2] or (1, 0)
    slope, threshold, above, below = 0.0, 0.0, 0.0, 0.0
    if function == 2:
        above = rest[2]
    elif function == 3:
        slope, threshold = rest[2:]
    elif function == 4:
        slope, threshold, above, below = rest[2:]
    power = np.maximum(a * levels + b, 0) ** gamma + above
    return np.clip(np.where(levels < threshold, slope * levels + below, power), 0, 1)
