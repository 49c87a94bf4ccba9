"""Orientation and resolution of an image, from its metadata."""

from typing import Final

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from worker.errors import CutworkError
from worker.imaging.masks import Pixels

_CENTIMETRE: Final = 3
"""Value of the tag `ResolutionUnit`."""
_CM_PER_INCH: Final = 2.54


def read_orientation(image: Image.Image, warnings: list[str]) -> int:
    """Return the orientation, 1 to 8, from an image's EXIF or XMP; 1 if it has none.

    Unreadable EXIF adds a sentence to `warnings`.
    """
    try:
        orientation = image.getexif().get(Base.Orientation, 1)
    except (CutworkError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - Pillow raises errors of any class for broken EXIF
        warnings.append(f"orientation ignored, the EXIF block cannot be read: {error}")
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def is_sideways(orientation: int) -> bool:
    """Return whether an orientation swaps width and height."""
    return orientation in (5, 6, 7, 8)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an orientation of (H, W, …) pixels; 5 to 8 are 1 to 4 with the axes swapped."""
    if is_sideways(orientation):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def resolution(image: Image.Image) -> tuple[float, float] | None:
    """Return pixels per inch (x, y) from the format's own field or from EXIF; None if unknown."""
    dpi = image.info.get("dpi")
    try:
        if not dpi:
            exif = image.getexif()
            scale = _CM_PER_INCH if exif.get(Base.ResolutionUnit) == _CENTIMETRE else 1
            dpi = [exif[tag] * scale for tag in (Base.XResolution, Base.YResolution)]
        x, y = (float(value) for value in dpi)
    except Exception:  # noqa: BLE001 - Pillow raises errors of any class for broken EXIF
        return None
    return (x, y) if 0 < x < 1e5 and 0 < y < 1e5 else None
