"""Colours in sRGB, such as `#ff8000`, as levels of a picture in another colour space."""

from typing import Final

import numpy as np
import pyvips

from worker.imaging.colour.code_points import BT709_PRIMARIES, hdr_space
from worker.imaging.colour.curves import SRGB, Floats, evaluate
from worker.imaging.colour.icc import ColourSpace, read_code_points, rgb_to_d50, write_profile

Colour = tuple[float, float, float]
"""Red, green, blue, 0–255."""

_SRGB: Final = ColourSpace("sRGB", BT709_PRIMARIES, SRGB)
_SRGB_PROFILE: Final = write_profile(_SRGB)


def srgb_to_profile(colour: Colour, profile: bytes | None, warnings: list[str]) -> Colour:
    """Return the levels, 0–255, that look like an sRGB colour in pixels with a profile for RGB.

    They are multiples of 1/257, the levels of 16 bits, and clipped to what the profile can show. A
    profile of sRGB leaves the colour as it is. So does one that cannot be applied, such as a
    scanner's that only leads from levels to colours; this adds a sentence to `warnings`.
    """
    if profile is None:
        return colour
    space = hdr_space(read_code_points(profile))
    try:
        levels = _by_profile(colour, profile) if space is None else _by_space(colour, space)
    except pyvips.Error:
        warnings.append("background: not converted from sRGB, the colour profile cannot be applied")
        return colour
    shallow = np.rint(levels)
    if np.array_equal(shallow, colour):
        return colour
    # The level of 8 bits is the high byte of the level of 16 bits.
    deep = np.clip(np.rint(levels * 257), shallow * 256, shallow * 256 + 255)
    red, green, blue = (float(level) for level in deep / 257)
    return red, green, blue


def _by_profile(colour: Colour, profile: bytes) -> Floats:
    pixel = np.rint(np.array([[colour]]) * 257).astype(np.uint16)
    image = pyvips.Image.new_from_array(pixel, interpretation="rgb16")
    lab = _with_profile(image, _SRGB_PROFILE).icc_import(
        embedded=True, pcs="lab", intent="relative"
    )
    converted = _with_profile(lab, profile).icc_export(depth=16, pcs="lab", intent="relative")
    return np.asarray(converted.numpy()[0, 0] / 257, np.float64)


def _by_space(colour: Colour, space: ColourSpace) -> Floats:
    """Convert to PQ or HLG, of whose profiles the inverse makes white the brightest light."""
    matrix = np.linalg.solve(rgb_to_d50(space.primaries), rgb_to_d50(_SRGB.primaries))
    light = np.clip(matrix @ evaluate(SRGB, np.array(colour) / 255), 0, 1)
    encoded = np.linspace(0, 1, 2**16)
    return np.asarray(encoded[np.searchsorted(evaluate(space.curve, encoded), light)] * 255)


def _with_profile(image: pyvips.Image, profile: bytes) -> pyvips.Image:
    image = image.copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return image
