"""Real photographs as files of many sizes, colour modes and orientations."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import skimage.data
from PIL import Image, ImageOps

from worker.imaging.png import write_png

FOLDER = Path(skimage.data.__file__).parent


class Photograph(NamedTuple):
    """A file, and its special property."""

    name: str
    data: bytes


def photographs() -> Iterator[Photograph]:
    """Return the photographs of scikit-image as they are, then converted."""
    for name in (
        *("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png"),
        *("camera.png", "retina.jpg", "hubble_deep_field.jpg", "ihc.png"),
    ):
        yield Photograph(name, (FOLDER / name).read_bytes())
    rocket = Image.open(FOLDER / "rocket.jpg").convert("RGB")
    coffee = Image.open(FOLDER / "coffee.png").convert("RGB")
    chelsea = Image.open(FOLDER / "chelsea.png").convert("RGB")
    sideways = Image.Exif()
    sideways[0x0112] = 6
    yield Photograph("rocket, EXIF sideways", _saved(rocket, "JPEG", exif=sideways, quality=95))
    mirrored = Image.Exif()
    mirrored[0x0112] = 5
    yield Photograph("chelsea, EXIF mirrored", _saved(chelsea, "JPEG", exif=mirrored, quality=95))
    yield Photograph("coffee, palette", _saved(coffee.quantize(200), "PNG"))
    yield Photograph("coffee, CMYK", _saved(coffee.convert("CMYK"), "JPEG", quality=95))
    transparent = chelsea.copy()
    transparent.putalpha(Image.linear_gradient("L").resize(chelsea.size))
    yield Photograph("chelsea, half transparent", _saved(transparent, "WEBP", lossless=True))
    wide = np.asarray(rocket).astype(np.uint16) * 257
    yield Photograph("rocket, 16 bits", write_png(wide, icc_profile=None, dpi=None))
    yield Photograph("coffee, 48×32", _saved(coffee.resize((48, 32)), "PNG"))
    tall = ImageOps.crop(Image.open(FOLDER / "astronaut.png").convert("RGB"), (150, 0, 240, 0))
    yield Photograph("astronaut, narrow", _saved(tall, "BMP"))
    large = chelsea.resize((2200, 1463), Image.Resampling.BICUBIC)
    yield Photograph("chelsea, 3.2 MP", _saved(large, "JPEG", quality=90))


def photograph(name: str) -> bytes:
    """Return the photograph with this name."""
    return next(item.data for item in photographs() if item.name == name)


def _saved(image: Image.Image, name: str, **parameters: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **parameters)
    return buffer.getvalue()
