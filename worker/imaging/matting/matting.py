"""Alpha and foreground colour of uncertain edges. Pure: arrays in, arrays out.

`worker.imaging.matting.closed_form` solves for alpha; pymatting estimates the colours: T. Germer et
al., "Fast Multi-Level Foreground Estimation", 2020.
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
from scipy import ndimage

from worker.imaging.masks import Pixels, eight_bits, peak

Float = NDArray[np.float64] | NDArray[np.float32]

_NEAR: Final = 2 / 255
"""How far alpha may lie from the solution without a word."""

_TURN: Final = Lock()


class Kernels(NamedTuple):
    """What numba compiles: the solver for alpha, pymatting's estimate of colours, and more."""

    alpha: Callable[..., Any]
    foreground: Callable[..., Any]
    """(H, W, 3) float32; with `return_background` two of them. Hold the turn while calling it."""
    fuse: Callable[..., None]
    """`worker.imaging.fusion.fuse`."""
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

    from worker.imaging.fusion import fuse
    from worker.imaging.matting.closed_form import solve

    import_module("worker.imaging.upsample")  # Of `mask`, which imports it where it is needed.

    # Two threads in a kernel at once kill the process under this layer, and no other.
    turn = _TURN if layer == "workqueue" else nullcontext()
    return Kernels(solve, estimate_foreground_ml, fuse, turn)


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
    levels = area.view(np.uint8)
    for axis in (0, 1):
        levels = ndimage.minimum_filter1d(
            levels, size, axis=axis, mode="constant", cval=int(outside)
        )
    return levels.view(np.bool_)


def closed_form_alpha(
    rgb: Pixels,
    trimap: NDArray[np.uint8],
    *,
    start: Pixels | None = None,
    seconds: float = math.inf,
    exact: bool = False,
) -> tuple[NDArray[np.float64], str | None]:
    """Alpha (H, W) in 0…1 of (H, W, 3) pixels, and what is to be said of it, if anything.

    `start` is a mask to begin with, and `seconds` are after which it ends with what it has. With
    `exact` alpha is good for telling the foreground's colour by, and not only for levels. Raises
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
    found = kernels().alpha(rgb, trimap, start=start, seconds=seconds, exact=exact)
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


def layers(rgb: Pixels, mask: Pixels) -> tuple[Float, Float]:
    """The colours of the subject and of what is behind it, (H, W, 3) in 0…1."""
    colour, alpha = rgb / np.float32(peak(rgb)), mask / np.float32(peak(mask))
    if max(mask.shape) < 2:
        return colour, colour
    with kernels().turn:
        front, behind = kernels().foreground(colour, alpha, return_background=True)
    return front, behind
