"""The matting Laplacian of a picture's unknown pixels, applied by several threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from worker.imaging.cores import usable_cores
from worker.imaging.masks import Pixels, max_level
from worker.imaging.matting.closed_form import kernels

Vector = NDArray[np.float64]
"""One number per unknown pixel, in the order of the rows of the picture."""
Result = TypeVar("Result")

_BLOCK: Final = 2**15
"""Unknown pixels in a thread's task. Results depend on it, but not on the number of threads."""
_ROWS: Final = 64
"""Rows of the picture in one task of a thread."""

_threads: Final = ThreadPoolExecutor(usable_cores(), thread_name_prefix="cutwork-matting")


class Laplacian:
    """The sparse equations between N unknown pixels: `multiply(alpha)[0] == rhs`."""

    def __init__(
        self, rgb: Pixels, trimap: NDArray[np.uint8], *, as_pymatting: bool = False
    ) -> None:
        """Assemble the equations where the trimap (H, W) of 0, 128 and 255 is 128.

        `rgb` is (H, W, 3), at least 3×3 pixels. `as_pymatting` rounds as pymatting's matrix does.
        """
        self.y, self.x = np.nonzero(trimap == 128)
        count = len(self.y)
        height, width = trimap.shape
        frame = kernels.REACH
        framed = np.full((height + 2 * frame, width + 2 * frame), -1, np.int32)
        framed[self.y + frame, self.x + frame] = np.arange(count, dtype=np.int32)
        self.colours = rgb[self.y, self.x] / np.float32(max_level(rgb))
        """(N, 3) float32, in 0…1."""
        self.rhs: Vector = np.zeros(count)
        lower = np.zeros((count, kernels.PRECEDING + 1))
        positions = np.asarray((self.y + frame) * framed.shape[1] + self.x + frame, np.int32)
        preceding = [(y, x) for y in (-2, -1, 0) for x in range(-2, 3) if (y, x) < (0, 0)]
        offsets = np.array([y * framed.shape[1] + x for y, x in preceding], np.int32)
        self.storage = lower, framed.ravel(), positions, offsets
        """`lower`, `indices`, `positions` and `offsets`, which `closed_form.kernels` describes."""
        indices = np.ascontiguousarray(framed[frame:-frame, frame:-frame])
        trimap = np.ascontiguousarray(trimap)

        def assemble(top: int) -> None:
            part = slice(top - 1, min(top + _ROWS, height - 1) + 1)
            colours = rgb[part] / np.float64(max_level(rgb))
            kernels.assemble(colours, trimap[part], indices[part], lower, self.rhs, as_pymatting)

        # A window also writes to the rows above and below its centre: adjacent strips would race.
        for first in (1, 1 + _ROWS):
            _run(assemble, range(first, height - 1, 2 * _ROWS))

    def multiply(self, x: Vector) -> tuple[Vector, float]:
        """Return the product with `x`, and the inner product of that and `x`."""
        product = np.empty_like(x)

        def multiply(first: int) -> float:
            last = min(first + _BLOCK, len(x))
            return float(kernels.multiply(*self.storage, x, product, first, last))

        return product, sum(_run(multiply, range(0, len(x), _BLOCK)))

    def gauss_seidel(self, residual: Vector) -> Vector:
        """Return one symmetric Gauss–Seidel sweep from zero; each block of pixels stands alone."""
        correction = np.empty_like(residual)

        def sweep(first: int) -> None:
            last = min(first + _BLOCK, len(residual))
            kernels.gauss_seidel(*self.storage, residual, correction, first, last)

        _run(sweep, range(0, len(residual), _BLOCK))
        return correction


def _run(work: Callable[[int], Result], starts: range) -> list[Result]:
    if len(starts) < 2:
        return [work(start) for start in starts]
    return list(_threads.map(work, starts))
