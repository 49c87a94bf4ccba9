"""Alpha and foreground colour of uncertain edges. Pure: arrays in, arrays out.

Alpha is solved in `worker.closed_form`, colour by pymatting: T. Germer et al., "Fast Multi-Level
Foreground Estimation", 2020.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib import import_module
from threading import Lock
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from worker.mask import Box, Pixels, eight_bits, extent, peak
from worker.rows import strips

Float = NDArray[np.float64] | NDArray[np.float32]

_MARGIN: Final = 16
"""Pixels around the subject that also get its colour, for whoever resizes the cut-out."""
_FULL: Final = 0.99
"""Alpha from which a pixel keeps its colour: hardly anything shines through."""
_FAINT: Final = 2 / 255
"""Alpha up to this is a model's noise; where the subject ends is above it."""
WHOLE: Final = 8_000_000
"""Pixels up to which the colour of clean edges is estimated at full size, in 75 bytes each."""

_NEAR: Final = 2 / 255
"""How far alpha may lie from the solution without a word."""

_TURN: Final = Lock()


class Kernels(NamedTuple):
    """What is compiled: `worker.closed_form.solve`, and pymatting's estimate of colours."""

    alpha: Callable[..., Any]
    foreground: Callable[..., Any]
    """(H, W, 3) float32; with `return_background` two of them. Hold the turn while calling it."""
    turn: AbstractContextManager[object]


@cache
def kernels() -> Kernels:
    """Import both; the first time ever on a machine that compiles them, for half a minute.

    Not done above, so that only who cuts out waits for it: a worker does before it takes a job.
    """
    import numba

    # It counts only before the first kernel, so before the import below.
    numba.config.THREADING_LAYER = layer = _threading_layer()
    from pymatting.foreground.estimate_foreground_ml import estimate_foreground_ml

    from worker.closed_form import solve

    # Two threads in a kernel at once kill the process under this layer, and no other.
    turn = _TURN if layer == "workqueue" else nullcontext()
    return Kernels(solve, estimate_foreground_ml, turn)


def _threading_layer() -> str:
    """The layer for numba: OpenMP, TBB, or where neither is installed its own, one at a time."""
    for layer in ("omp", "tbb"):
        try:
            import_module(f"numba.np.ufunc.{layer}pool")
        except ImportError:
            continue
        return layer
    return "workqueue"


class MattingImpossible(ValueError):
    """There is nothing to solve from; the text says what is missing."""


def trimap(
    mask: Pixels, *, foreground_threshold: int, background_threshold: int, erode_size: int
) -> NDArray[np.uint8]:
    """What a mask is sure of, as rembg decides it: 255 foreground, 0 background, 128 unknown.

    Thresholds are levels of 0…255. Both areas are eroded by a square of `erode_size` pixels, or
    with 0 by a 3×3 cross.
    """
    levels = eight_bits(mask)
    # Outside the picture is background for the foreground, and for the background too.
    foreground = _eroded(levels > foreground_threshold, erode_size, outside=False)
    background = _eroded(levels < background_threshold, erode_size, outside=True)
    sure = np.full(levels.shape, 128, np.uint8)
    sure[foreground] = 255
    sure[background] = 0
    return sure


def _eroded(area: NDArray[np.bool_], size: int, *, outside: bool) -> NDArray[np.bool_]:
    if not size:
        return np.asarray(ndimage.binary_erosion(area, border_value=outside))
    # The same as by the square, whose fourth power is what scipy's time and memory grow with.
    for side in ((size, 1), (1, size)):
        area = ndimage.binary_erosion(area, np.ones(side), border_value=outside)
    return area


def closed_form_alpha(
    rgb: Pixels,
    trimap: NDArray[np.uint8],
    *,
    start: Pixels | None = None,
    seconds: float = math.inf,
) -> tuple[NDArray[np.float64], str | None]:
    """Alpha (H, W) in 0…1 of (H, W, 3) pixels, and what is to be said of it, if anything.

    `start` is a mask to begin with, and `seconds` are after which it ends with what it has. Raises
    `MattingImpossible`.
    """
    if min(trimap.shape) < 3:
        height, width = trimap.shape
        raise MattingImpossible(f"expected at least 3×3 pixels, found {width}×{height}")
    for level, name in ((255, "foreground"), (0, "background")):
        if not (trimap == level).any():
            raise MattingImpossible(f"expected some sure {name}, found none")
    if not (trimap == 128).any():
        return trimap / 255.0, None
    found = kernels().alpha(rgb, trimap, start=start, seconds=seconds)
    if not math.isfinite(found.off):
        raise MattingImpossible("no solution was found")
    if found.off <= _NEAR:
        return found.alpha, None
    return found.alpha, (
        f"ended after {found.seconds:.1f} s and {found.steps} steps (CUTWORK_MATTING_SECONDS is "
        f"{seconds:g}) with what there was; levels may be off by {255 * found.off:.0f} and more"
    )


def foreground_colour(rgb: Pixels, alpha: Float) -> Float:
    """The subject's own colour (H, W, 3) in 0…1, without what shines through where alpha < 1."""
    colour = rgb / np.float32(peak(rgb))
    if max(alpha.shape) < 2:
        return colour
    with kernels().turn:
        estimated: NDArray[np.float32] = kernels().foreground(colour, alpha)
    return estimated


def clean_edges(rgb: Pixels, mask: Pixels, *, whole: int = WHOLE) -> Pixels:
    """The picture with the subject's own colour wherever something else shines through its mask.

    Where the mask is full the picture stays as it is. Far from the subject it becomes black, so
    that a cut-out neither carries its background along nor pays for it in bytes. A subject of more
    pixels than `whole` is estimated at a fraction of its size, and fused with the picture.
    """
    found = extent(mask, above=int(_FAINT * peak(mask))).box
    if mask.min() >= _FULL * peak(mask):
        return rgb
    if found is None:
        return np.zeros_like(rgb)
    left, upper, right, lower = _wider(found, (mask.shape[1], mask.shape[0]))
    part = np.s_[upper:lower, left:right]
    seen, levels = rgb[part], mask[part]
    step = math.ceil(math.sqrt(levels.size / whole))
    clean = np.zeros_like(rgb)
    coarse = _Layers.of(seen[::step, ::step], levels[::step, ::step])
    if step > 1:
        coarse = coarse.framed()
    for rows in strips(*levels.shape):
        alpha = levels[rows, :, np.newaxis] / np.float32(peak(mask))
        if step == 1:
            estimated = coarse.foreground[rows]
        else:
            estimated = coarse.fused(seen[rows] / np.float32(peak(rgb)), alpha, rows, step)
        colours = np.rint(estimated * np.float32(peak(rgb))).astype(rgb.dtype)
        clean[part][rows] = np.where(alpha < _FULL, colours, seen[rows])
    return clean


class _Layers(NamedTuple):
    """The colours of the subject and of what is behind it, (H, W, 3) in 0…1."""

    foreground: Float
    background: Float

    @classmethod
    def of(cls, rgb: Pixels, mask: Pixels) -> "_Layers":
        """Estimate both."""
        colour, alpha = rgb / np.float32(peak(rgb)), mask / np.float32(peak(mask))
        if max(mask.shape) < 2:
            return cls(colour, colour)
        with kernels().turn:
            foreground, background = kernels().foreground(colour, alpha, return_background=True)
        return cls(foreground, background)

    def framed(self) -> "_Layers":
        """The same with a pixel more on every side."""
        return _Layers(
            *(
                np.asarray(np.pad(layer, ((1, 1), (1, 1), (0, 0)), "edge"), np.float32)
                for layer in self
            )
        )

    def fused(self, colour: Float, alpha: Float, rows: slice, step: int) -> Float:
        """The subject's colour in rows of a picture `step` times as large, whose colours are known.

        What the two layers leave unexplained of a pixel is the subject's by its alpha: M. Forte,
        "Approximate Fast Foreground Colour Estimation", 2021.
        """
        width = colour.shape[1]
        front, behind = (_larger(layer, rows, width, step) for layer in self)
        rest = colour - alpha * front - (1 - alpha) * behind
        return np.clip(front + alpha * rest, 0, 1)


def _larger(layer: Float, rows: slice, width: int, step: int) -> NDArray[np.float32]:
    """Some rows of a layer that is `step` times as large, bilinearly."""
    # Samples are every step's first pixel: half a step from where a resize takes them to be. The
    # layer has a pixel more on every side.
    off = 1.5 - 0.5 / step
    first, last = rows.start / step + off, rows.stop / step + off
    upper = int(first) - 1
    near = layer[upper : math.ceil(last) + 1]
    box = (off, first - upper, width / step + off, last - upper)
    channels = [
        Image.fromarray(np.ascontiguousarray(near[:, :, channel])).resize(
            (width, rows.stop - rows.start), Image.Resampling.BILINEAR, box=box
        )
        for channel in range(3)
    ]
    return np.dstack([np.asarray(channel) for channel in channels])


def _wider(box: Box, size: tuple[int, int]) -> Box:
    left, upper, right, lower = box
    return (
        max(left - _MARGIN, 0),
        max(upper - _MARGIN, 0),
        min(right + _MARGIN, size[0]),
        min(lower + _MARGIN, size[1]),
    )
