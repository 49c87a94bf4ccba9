"""Orientation and resolution of an image, from its metadata."""

from typing import Final

from PIL import Image
from PIL.ExifTags import Base

from worker.errors import CutworkError

_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that undoes an EXIF orientation; from 5 on, width and height are swapped."""
_CENTIMETRE: Final = 3
"""Value of the tag `ResolutionUnit`."""
_CM_PER_INCH: Final = 2.54


def turn_upright(image: Image.Image, warnings: list[str]) -> tuple[Image.Image, bool]:
    """Turn an image upright by its EXIF or XMP tag; also return whether width and height swapped.

    An image that needs no turn is returned as it is. Unreadable EXIF adds a sentence to `warnings`.
    """
    try:
        orientation = image.getexif().get(Base.Orientation, 1)
    except (CutworkError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - Pillow raises errors of any class for broken EXIF
        warnings.append(f"orientation ignored, the EXIF block cannot be read: {error}")
        return image, False
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    if method is None:
        return image, False
    turned = image.transpose(method)
    image.close()  # Frees the pixels; format and metadata stay readable.
    return turned, orientation >= 5


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
