"""Any mode of Pillow's to 8-bit RGB or RGBA, and what becomes of its colour profile."""

import io
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from worker.errors import CorruptImage, UnsupportedImage

MAX_ICC_PROFILE_BYTES: Final = 4 * 2**20
"""Real profiles are below 2 MiB. A profile is copied into every output."""

_SRGB: Final = ImageCms.createProfile("sRGB")


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image in a mode; without the copy that Pillow would make of one that is."""
    return image if image.mode == mode else image.convert(mode)


def to_eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits by its high byte; Pillow's own conversion clips at 255 instead."""
    if image.mode.startswith("I;16"):
        wide = np.asarray(image)
        grey = Image.fromarray((wide >> 8).astype(np.uint8))
        if "transparency" in image.info:
            alpha = np.where(wide == image.info["transparency"], 0, 255).astype(np.uint8)
            return Image.merge("LA", (grey, Image.fromarray(alpha)))
        return grey
    if image.mode in ("I", "F"):
        # Neither says which of its values is white.
        kind = "32-bit integers" if image.mode == "I" else "floating point"
        raise UnsupportedImage(f"expected 1, 8 or 16 bits a channel, found {kind}")
    return image


def to_rgb(
    image: Image.Image, profile: bytes | None, warnings: list[str]
) -> tuple[Image.Image, bytes | None]:
    """RGB or RGBA pixels, and the profile if it still describes them.

    A profile of another colour space cannot be embedded in RGB: its colours are converted to sRGB.
    """
    try:
        plain = _in_mode(image, "RGBA" if has_transparency(image) else "RGB")
    except (AssertionError, ValueError) as error:
        raise _without_palette(image, error) from error
    space = _profile_space(profile, warnings)
    if profile is None or space is None:
        return plain, None
    if space == "RGB " and image.mode in ("RGB", "RGBA", "RGBX", "P", "PA"):
        return plain, profile
    if (space, image.mode) not in {("CMYK", "CMYK"), ("GRAY", "L"), ("Lab ", "LAB")}:
        warnings.append(f"colour profile dropped: it is for {space.strip()}, not {image.mode}")
        return plain, None
    try:
        source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), _SRGB
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except ImageCms.PyCMSError as error:
        warnings.append(f"colour profile dropped, it cannot be applied: {error}")
        return plain, None
    return converted or plain, None


def has_transparency(image: Image.Image) -> bool:
    """Whether anything in an image may be transparent; raises `CorruptImage`."""
    try:
        return image.has_transparency_data
    except (AssertionError, ValueError) as error:
        raise _without_palette(image, error) from error


def _without_palette(image: Image.Image, error: Exception) -> CorruptImage:
    return CorruptImage(
        f"{image.mode} pixels that cannot be converted to RGB: {str(error) or 'no palette'}"
    )


def _profile_space(profile: bytes | None, warnings: list[str]) -> str | None:
    """The colour space an ICC profile is for, by its header; None without a usable profile."""
    if not profile:
        return None
    if len(profile) > MAX_ICC_PROFILE_BYTES:
        warnings.append(f"colour profile dropped: it has {len(profile):,} bytes")
        return None
    try:
        return str(ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space)
    except (OSError, UnicodeDecodeError, ImageCms.PyCMSError):
        warnings.append("colour profile dropped: it cannot be read")
        return None
