"""The matting Laplacian of a picture's unknown pixels, as a matrix that is worked with."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from worker.imaging.masks import Pixels, peak
from worker.imaging.matting.closed_form import kernels

Vector = NDArray[np.float64]
Result = TypeVar("Result")

_SHARE: Final = 2**15
"""Pixels a thread takes at a time. The result depends on it, and not on the threads."""
_ROWS: Final = 64
"""Rows a thread takes at a time."""
_FRAME: Final = 2
"""Pixels between two that share a window, at most."""

_threads: Final = ThreadPoolExecutor(
    len(os.sched_getaffinity(0)), thread_name_prefix="cutwork-matting"
)


class Laplacian:
    """The equations between the unknown pixels of a picture: `times(alpha) = known`."""

    def __init__(
        self, rgb: Pixels, trimap: NDArray[np.uint8], *, as_pymatting: bool = False
    ) -> None:
        """Of (H, W, 3) pixels, of at least 3×3, where a trimap of 0, 128 and 255 is 128.

        `as_pymatting`: rounded as its matrix is.
        """
        self.y, self.x = np.nonzero(trimap == 128)
        count = len(self.y)
        height, width = trimap.shape
        framed = np.full((height + 2 * _FRAME, width + 2 * _FRAME), -1, np.int32)
        framed[self.y + _FRAME, self.x + _FRAME] = np.arange(count, dtype=np.int32)
        self.colours = rgb[self.y, self.x] / np.float32(peak(rgb))
        """(N, 3) float32, in 0…1."""
        self.known: Vector = np.zeros(count)
        self.rows = np.zeros((count, kernels.BEFORE + 1))
        self.numbers = framed.ravel()
        self.places = np.asarray((self.y + _FRAME) * framed.shape[1] + self.x + _FRAME, np.int32)
        self.steps = np.array(
            [y * framed.shape[1] + x for y in (-2, -1, 0) for x in range(-2, 3) if (y, x) < (0, 0)],
            np.int32,
        )
        self._assemble(rgb, trimap, framed, as_pymatting)

    def _assemble(
        self,
        rgb: Pixels,
        trimap: NDArray[np.uint8],
        framed: NDArray[np.int32],
        as_pymatting: bool,
    ) -> None:
        height = len(trimap)
        trimap = np.ascontiguousarray(trimap)
        numbers = np.ascontiguousarray(framed[_FRAME:-_FRAME, _FRAME:-_FRAME])

        def some(top: int) -> None:
            part = slice(top - 1, min(top + _ROWS, height - 1) + 1)
            colours = rgb[part] / np.float64(peak(rgb))
            kernels.assemble(
                colours, trimap[part], numbers[part], self.rows, self.known, as_pymatting
            )

        # A window writes to the rows beside it: neighbours take turns.
        for first in (1, 1 + _ROWS):
            _each(some, range(first, height - 1, 2 * _ROWS))

    def times(self, x: Vector) -> tuple[Vector, float]:
        """The product with a vector, and the inner product of both."""
        result = np.empty_like(x)

        def some(first: int) -> float:
            last = min(first + _SHARE, len(x))
            return float(
                kernels.times(
                    self.rows, self.numbers, self.places, self.steps, x, result, first, last
                )
            )

        return result, sum(_each(some, range(0, len(x), _SHARE)))

    def sweep(self, rest: Vector) -> Vector:
        """What would lessen a rest: symmetric Gauss–Seidel, within each share of the pixels."""
        result = np.empty_like(rest)

        def some(first: int) -> None:
            last = min(first + _SHARE, len(rest))
            kernels.sweep(
                self.rows, self.numbers, self.places, self.steps, rest, result, first, last
            )

        _each(some, range(0, len(rest), _SHARE))
        return result


def _each(work: Callable[[int], Result], parts: range) -> list[Result]:
    if len(parts) < 2:
        return [work(part) for part in parts]
    return list(_threads.map(work, parts))
