"""A comparison of PNG encoders: time and size for the same cut-outs."""

import io
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Final

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image

from benchmarks.figure import Figure
from benchmarks.photographs import jpegs
from worker.imaging.decode import open_image
from worker.imaging.png import write_png

Pixels = NDArray[np.uint8]

_MEGAPIXELS: Final = 6
_ROUNDS: Final = 3


def _pillow(level: int) -> Callable[[Pixels], bytes]:
    def encode(pixels: Pixels) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=level)
        return buffer.getvalue()

    return encode


def _libvips(**options: object) -> Callable[[Pixels], bytes]:
    def encode(pixels: Pixels) -> bytes:
        image = pyvips.Image.new_from_array(pixels, interpretation="srgb")
        data: bytes = image.pngsave_buffer(**options)
        return data

    return encode


ENCODERS: Final[Mapping[str, Callable[[Pixels], bytes]]] = {
    "Cutwork (ISA-L)": lambda pixels: write_png(pixels, icc_profile=None, dpi=None),
    "Pillow 6 (default)": _pillow(6),
    "Pillow 1": _pillow(1),
    "libvips 6 (default)": _libvips(compression=6),
    "libvips 1": _libvips(compression=1),
    "libvips 1, up": _libvips(compression=1, filter="up"),
}


def cut_outs(megapixels: float) -> list[Pixels]:
    """Return the demo's photographs as RGBA (H, W, 4), transparent outside an ellipse."""
    return [
        _in_an_ellipse(open_image(data, max_pixels=10**9).decode().rgb)
        for data in jpegs(megapixels).values()
    ]


def _in_an_ellipse(rgb: NDArray[np.uint8 | np.uint16]) -> Pixels:
    y, x = np.ogrid[-1 : 1 : rgb.shape[0] * 1j, -1 : 1 : rgb.shape[1] * 1j]
    mask = np.where(np.hypot(y, x) < 0.8, np.uint8(255), np.uint8(0))
    return np.dstack((np.where(mask[:, :, np.newaxis], rgb, 0), mask)).astype(np.uint8)


def encoders() -> list[Figure]:
    """Measure every encoder in turns on the same cut-outs, in one thread."""
    pictures = cut_outs(_MEGAPIXELS)
    seconds: dict[str, list[float]] = {name: [] for name in ENCODERS}
    sizes: dict[str, int] = {}
    for _ in range(_ROUNDS):
        for name, encode in ENCODERS.items():
            began = time.perf_counter()
            sizes[name] = sum(len(encode(picture)) for picture in pictures)
            seconds[name].append((time.perf_counter() - began) / len(pictures))
    middle = {name: median(spent) for name, spent in seconds.items()}
    ours, *others = middle
    fastest = min(others, key=lambda name: middle[name])
    return [
        Figure(
            what=f"PNG of a {_MEGAPIXELS} MP cut-out: time ÷ that of the fastest other encoder",
            value=middle[ours] / middle[fastest],
            how="; ".join(
                f"{name} {1000 * spent:.0f} ms, {sizes[name] / len(pictures) / 1e6:.1f} MB"
                for name, spent in sorted(middle.items(), key=lambda item: item[1])
            ),
            samples={f"{name}, s": spent for name, spent in seconds.items()},
        )
    ]
