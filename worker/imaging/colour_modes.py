"""Conversion of Pillow's colour modes to 8-bit RGB or RGBA, and of ICC profiles with them."""

import io
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from worker.errors import CorruptImage, UnsupportedImage
from worker.imaging.bombs.icc import usable_profile

_SRGB: Final = ImageCms.createProfile("sRGB")


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Reduce 16-bit grey to the high byte; Pillow's own conversion clips at 255 instead.

    Raise `UnsupportedImage` for 32-bit integers and floating point.
    """
    if image.mode.startswith("I;16"):
        wide = np.asarray(image)
        grey = Image.fromarray((wide >> 8).astype(np.uint8))
        if "transparency" in image.info:
            alpha = np.where(wide == image.info["transparency"], 0, 255).astype(np.uint8)
            return Image.merge("LA", (grey, Image.fromarray(alpha)))
        return grey
    if image.mode in ("I", "F"):
        # These modes do not define which value is white.
        kind = "32-bit integers" if image.mode == "I" else "floating point"
        raise UnsupportedImage(f"expected 1, 8 or 16 bits per channel, found {kind}")
    return image


def to_rgb(
    image: Image.Image, profile: object, warnings: list[str]
) -> tuple[Image.Image, bytes | None]:
    """Return RGB or RGBA pixels, and the ICC profile if it still describes them.

    A profile of another colour space cannot be embedded in RGB files: the colours are converted to
    sRGB with it, or it is dropped with a sentence in `warnings`. Raise `CorruptImage` if Pillow
    cannot convert the pixels.
    """
    mode = "RGBA" if has_transparency(image) else "RGB"
    try:
        plain = image if image.mode == mode else image.convert(mode)
    except (AssertionError, ValueError) as error:
        raise _missing_palette(image, error) from error
    profile = usable_profile(profile, warnings)
    space = _colour_space(profile, warnings)
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
    """Return whether pixels may be transparent; raise `CorruptImage` for a missing palette."""
    try:
        return image.has_transparency_data
    except (AssertionError, ValueError) as error:
        raise _missing_palette(image, error) from error


def _missing_palette(image: Image.Image, error: Exception) -> CorruptImage:
    reason = str(error) or "no palette"
    return CorruptImage(f"{image.mode} pixels that cannot be converted to RGB: {reason}")


def _colour_space(profile: bytes | None, warnings: list[str]) -> str | None:
    """Return the colour space in the header of an ICC profile, None if it cannot be read."""
    if not profile:
        return None
    try:
        return str(ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space)
    except (OSError, UnicodeDecodeError, ImageCms.PyCMSError):
        warnings.append("colour profile dropped: it cannot be read")
        return None
