"""Photographs of any size, as a camera writes them."""

import io
import math
from collections.abc import Mapping
from functools import cache

from PIL import Image

from deploy.demo.command import photographs


@cache
def jpegs(megapixels: float) -> Mapping[str, bytes]:
    """Return the demo's photographs as JPEGs of this size, by name."""
    return {name: _jpeg(data, megapixels) for name, data in photographs().items()}


def _jpeg(data: bytes, megapixels: float) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        scale = math.sqrt(megapixels * 1e6 / (image.width * image.height))
        size = (round(image.width * scale), round(image.height * scale))
        buffer = io.BytesIO()
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
