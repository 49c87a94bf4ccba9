"""Pictures that state their colours, and checks of how results look to others."""

import io
import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.colour_truth import seen_by_lcms, seen_by_libvips, true_srgb
from tests.support.hostile.png import chunk
from worker.imaging.decode import Picture, open_image
from worker.imaging.masks import Depth
from worker.imaging.png import write_png

LIMIT: Final = 10_000
DEPTHS: Final[tuple[Depth, ...]] = (np.uint8, np.uint16)
CODE_POINTS: Final[Mapping[tuple[int, int], str]] = {
    (1, 1): "bt709",
    (1, 4): "gamma-2.2",
    (1, 6): "bt709",
    (1, 8): "linear",
    (2, 8): "linear",
    (4, 4): "ntsc",
    (5, 13): "pal",
    (6, 6): "smpte-c",
    (7, 1): "smpte-c",
    (9, 1): "bt2020",
    (9, 14): "bt2020",
    (9, 15): "bt2020",
    (2, 16): "pq",
    (9, 16): "pq",
    (9, 18): "hlg",
    (12, 2): "p3",
    (12, 4): "p3-gamma-2.2",
    (12, 13): "p3",
}
"""Primaries and transfer function by ITU-T H.273, and the space that they name."""
SRGB_CODE_POINTS: Final = ((1, 13), (2, 2), (1, 2), (2, 13))
UNKNOWN_CODE_POINTS: Final = ((0, 13), (3, 1), (99, 13), (255, 255), (12, 0), (12, 3), (9, 19))

D50_XY, D65_XY = (0.3457, 0.3585), (0.3127, 0.3290)
SRGB_XY: Final = (*D65_XY, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
PROPHOTO_XY: Final = (*D50_XY, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)
ADOBE_XY: Final = (*D65_XY, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
P3_XY: Final = (*D65_XY, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)


def name_of(value: object) -> str:
    """Return a name of a parameter for the test's name, in which bytes would be unreadable."""
    return value if isinstance(value, str) else getattr(value, "__name__", "")


def colours(kind: Depth = np.uint8) -> NDArray[Any]:
    """Return (24, 32, 3): ramps of grey and of saturated colours, and random ones."""
    ramp = np.linspace(0, 1, 32)
    weights = ((1, 1, 1), (1, 0.5, 0), (0, 1, 0.2), (0.9, 0, 1))
    rows = [np.outer(ramp, weight) for weight in weights]
    rows += list(np.random.default_rng(3).random((20, 32, 3)))
    pixels: NDArray[Any] = np.rint(np.stack(rows) * np.iinfo(kind).max).astype(kind)
    return pixels


def png(pixels: NDArray[Any], *chunks: bytes) -> bytes:
    """Return a PNG with chunks before its pixels."""
    data = write_png(pixels, icc_profile=None, dpi=None)
    return data[:33] + b"".join(chunks) + data[33:]


def cicp(primaries: int, transfer: int, *, full_range: int = 1) -> bytes:
    return chunk(b"cICP", bytes((primaries, transfer, 0, full_range)))


def gama(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(100_000 / gamma)))


def chrm(xy: tuple[float, ...]) -> bytes:
    """White, red, green, blue."""
    return chunk(b"cHRM", struct.pack(">8I", *(round(100_000 * value) for value in xy)))


def iccp(profile: bytes) -> bytes:
    data = write_png(np.zeros((1, 1, 3), np.uint8), icc_profile=profile, dpi=None)
    length = int.from_bytes(data[33:37], "big")
    return data[33 : 45 + length]


def saved(image: Image.Image, name: str, **parameters: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **parameters)
    return buffer.getvalue()


def decoded(data: bytes, depth: Depth = np.uint8) -> Picture:
    return open_image(data, max_pixels=LIMIT).decode(depth=depth)


def check_seen(data: bytes, pixels: NDArray[Any], space: str, *, tolerance: float = 1.5) -> None:
    """Check that an image looks to two colour-managed readers as pixels of a space."""
    shallow = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    for seen in (seen_by_lcms(data), seen_by_libvips(data)):
        np.testing.assert_allclose(seen, true_srgb(shallow, space), atol=tolerance)


def check_named(warnings: tuple[str, ...], space: str) -> None:
    """Check that there is a warning for PQ or HLG, which names it, and no other."""
    named = {"pq": ["PQ"], "hlg": ["HLG"]}.get(space, [])
    assert [word for warning in warnings for word in ("PQ", "HLG") if word in warning] == named
    assert len(warnings) == len(named)


def coded(name: str, points: tuple[int, int], mode: str = "RGB") -> bytes:
    """Return a file with code points for its colours."""
    if name == "PNG":
        return png(np.asarray(Image.fromarray(colours()).convert(mode)), cicp(*points))
    image = Image.fromarray(colours()).convert(mode)
    data = saved(image, name, quality=95)
    assert data.count(b"colrnclx") == 1
    place = data.index(b"colrnclx") + 8
    return data[:place] + struct.pack(">HH", *points) + data[place + 4 :]
