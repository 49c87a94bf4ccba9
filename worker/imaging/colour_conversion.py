"""From the colours that a file stores to RGB, by its ICC profile; one place for both depths."""

import io
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import pyvips
from PIL import Image, ImageCms

from worker.imaging.colour.grey import grey_to_srgb
from worker.imaging.colour.png import StatedColour
from worker.imaging.masks import Pixels, max_level
from worker.imaging.readers.stored import Space

_SRGB: Final = ImageCms.createProfile("sRGB")
_ICC_SPACES: Final[dict[Space, str]] = {"grey": "GRAY", "rgb": "RGB ", "cmyk": "CMYK"}
"""The colour space in the header of a profile that fits."""
_NAMES: Final[dict[Space, str]] = {"grey": "grey", "rgb": "RGB", "cmyk": "CMYK"}
_CHANNELS: Final[dict[Space, int]] = {"grey": 1, "rgb": 3, "cmyk": 4}
_PILLOW_MODES: Final[dict[Space, str]] = {"grey": "L", "cmyk": "CMYK"}
_VIPS_NAMES: Final[dict[Space, str]] = {"grey": "grey16", "cmyk": "cmyk"}
_BLOCK_WIDTH, _BLOCK_HEIGHT = 1024, 256
_BLOCK_PIXELS: Final = _BLOCK_WIDTH * _BLOCK_HEIGHT
"""Pixels that libvips converts at once."""


class Conversion(NamedTuple):
    """How the colours of an image become RGB."""

    apply: Callable[[Pixels], Pixels]
    """(H, W, channels) in, (H, W, 3) out, with the same dtype; each pixel by itself."""
    icc_profile: bytes | None
    """The RGB profile that describes the result, to embed in the outputs; None for sRGB."""


def conversion(
    space: Space, colour: StatedColour, *, sixteen_bits: bool, warnings: list[str]
) -> Conversion:
    """Return how pixels of a colour space become RGB, for uint8 or, with `sixteen_bits`, uint16.

    A narrow range of levels is widened. For the profile see `_by_profile`.
    """
    profile = colour.icc_profile
    plain = _by_profile(space, profile, sixteen_bits=sixteen_bits, warnings=warnings)
    if not colour.has_narrow_range:
        return plain
    table = _full_range_table(sixteen_bits=sixteen_bits)
    return Conversion(lambda colours: plain.apply(table[colours]), plain.icc_profile)


def _full_range_table(*, sixteen_bits: bool) -> Pixels:
    """Return the level of full range for each level of narrow range, by ITU-T H.273, 8.3."""
    depth = np.uint16 if sixteen_bits else np.uint8
    top = np.iinfo(depth).max
    step = (top + 1) // 256
    levels = (np.arange(top + 1) - 16 * step) / (219 * step)
    return np.rint(np.clip(levels, 0, 1) * top).astype(depth)


def _by_profile(
    space: Space, profile: bytes | None, *, sixteen_bits: bool, warnings: list[str]
) -> Conversion:
    """Return how pixels become RGB by a profile.

    An RGB profile is kept, for grey pixels too. With a profile for grey or CMYK, which cannot be
    embedded in RGB files, the colours are converted to sRGB. A profile for other pixels than these,
    or that cannot be applied, is dropped with a sentence in `warnings`.
    """
    plain = Conversion(_PLAIN[space], None)
    if profile is None:
        if space == "cmyk":
            warnings.append("colour: CMYK without a profile is converted as ideal inks")
        return plain
    profile_space = _colour_space(profile, warnings)
    if profile_space is None:
        return plain
    if profile_space == "RGB " and space in ("rgb", "grey"):
        return Conversion(_PLAIN[space], profile)
    if profile_space != _ICC_SPACES[space]:
        warnings.append(
            f"colour profile dropped: it is for {profile_space.strip()}, not {_NAMES[space]}"
        )
        return plain
    table = _grey_table(profile, sixteen_bits=sixteen_bits) if space == "grey" else None
    if table is not None:
        return Conversion(lambda colours: _grey_to_rgb(table[colours]), None)
    by_library = _by_libvips if sixteen_bits else _by_pillow
    try:
        apply = by_library(profile, space)
        apply(np.zeros((1, 1, _CHANNELS[space]), np.uint16 if sixteen_bits else np.uint8))
    except (ImageCms.PyCMSError, pyvips.Error) as error:
        reason = " ".join(str(error).split())
        warnings.append(f"colour profile dropped, it cannot be applied: {reason}")
        return plain
    return Conversion(apply, None)


def _grey_to_rgb(colours: Pixels) -> Pixels:
    return np.repeat(colours[:, :, :1], 3, axis=2)


def _rgb_to_rgb(colours: Pixels) -> Pixels:
    return colours[:, :, :3]


def _cmyk_to_rgb(colours: Pixels) -> Pixels:
    """Convert without a profile, as Pillow does: the light that each ink and black let through."""
    top = max_level(colours)
    light = (top - colours).astype(np.uint32)
    product = light[:, :, :3] * light[:, :, 3:]
    return ((product + top // 2) // top).astype(colours.dtype)


_PLAIN: Final[dict[Space, Callable[[Pixels], Pixels]]] = {
    "grey": _grey_to_rgb,
    "rgb": _rgb_to_rgb,
    "cmyk": _cmyk_to_rgb,
}


def _grey_table(profile: bytes, *, sixteen_bits: bool) -> Pixels | None:
    """Return the sRGB level of each grey level; None for a profile without a curve."""
    depth = np.uint16 if sixteen_bits else np.uint8
    top = np.iinfo(depth).max
    table = grey_to_srgb(profile, np.linspace(0, 1, top + 1))
    return None if table is None else np.rint(table * top).astype(depth)


def _by_pillow(profile: bytes, space: Space) -> Callable[[Pixels], Pixels]:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(source, _SRGB, _PILLOW_MODES[space], "RGB")

    def apply(colours: Pixels) -> Pixels:
        squeezed = np.ascontiguousarray(colours[:, :, 0] if colours.shape[2] == 1 else colours)
        image = Image.fromarray(squeezed, transform.input_mode)
        return np.asarray(transform.apply(image))

    return apply


def _by_libvips(profile: bytes, space: Space) -> Callable[[Pixels], Pixels]:
    # libvips evaluates a profile anew in every operation, which takes longer than a strip. So there
    # is one operation, on a block of memory through which all pixels pass.
    channels = _CHANNELS[space]
    block = np.zeros((_BLOCK_PIXELS, channels), np.uint16)
    image = pyvips.Image.new_from_memory(
        block.data, _BLOCK_WIDTH, _BLOCK_HEIGHT, channels, "ushort"
    )
    image = image.copy(interpretation=_VIPS_NAMES[space])
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    converted = image.icc_transform("srgb", depth=16, embedded=True, intent="perceptual")

    def apply(colours: Pixels) -> Pixels:
        pixels = colours.reshape(-1, channels)
        result = np.empty((len(pixels), 3), np.uint16)
        for first in range(0, len(pixels), _BLOCK_PIXELS):
            part = pixels[first : first + _BLOCK_PIXELS]
            block[: len(part)] = part
            rows = -(-len(part) // _BLOCK_WIDTH)
            region = pyvips.Region.new(converted)
            levels = np.frombuffer(region.fetch(0, 0, _BLOCK_WIDTH, rows), np.uint16)
            result[first : first + len(part)] = levels.reshape(-1, 3)[: len(part)]
        return result.reshape(*colours.shape[:2], 3)

    return apply


def _colour_space(profile: bytes, warnings: list[str]) -> str | None:
    """Return the colour space in the header of an ICC profile; None if it cannot be read."""
    try:
        return str(ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space)
    except (OSError, UnicodeDecodeError, ImageCms.PyCMSError):
        warnings.append("colour profile dropped: it cannot be read")
        return None
