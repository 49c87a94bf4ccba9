"""What a file says of how its pixels are to be looked at: which way up, and how large."""

from typing import Final

from PIL import Image

from worker.errors import CutworkError

_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes an EXIF orientation."""
_SIDEWAYS: Final = (5, 6, 7, 8)
"""Those that swap width and height."""

_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _CENTIMETRE = 282, 283, 296, 3
_CM_PER_INCH: Final = 2.54


def upright(image: Image.Image, warnings: list[str]) -> tuple[Image.Image, bool]:
    """The image as EXIF or XMP says it is to be looked at, and whether it lay on its side.

    The same one where nothing does.
    """
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except (CutworkError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a broken EXIF block is no reason to refuse
        warnings.append(f"orientation ignored, the EXIF block cannot be read: {error}")
        return image, False
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    if method is None:
        return image, False
    turned = image.transpose(method)
    image.close()  # Its pixels; what it says of itself stays.
    return turned, orientation in _SIDEWAYS


def resolution(image: Image.Image) -> tuple[float, float] | None:
    """Pixels per inch, from the format's own place for it or from EXIF."""
    found = image.info.get("dpi")
    try:
        if not found:
            exif = image.getexif()
            scale = _CM_PER_INCH if exif.get(_RESOLUTION_UNIT) == _CENTIMETRE else 1
            found = [exif[tag] * scale for tag in (_X_RESOLUTION, _Y_RESOLUTION)]
        x, y = (float(value) for value in found)
    except Exception:  # noqa: BLE001 - a broken EXIF block is no reason to refuse
        return None
    return (x, y) if 0 < x < 1e5 and 0 < y < 1e5 else None
