"""The coarse level: a few vectors for each cell of pixels, solved for exactly.

What hardly costs anything in the matting Laplacian are, within a window, a constant and the three
colours. Each cell stands for these four, so that what no sweep over pixels sees is seen here.
"""

from typing import Final

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from worker.imaging.matting.closed_form import kernels
from worker.imaging.matting.closed_form.laplacian import Laplacian, Vector

_SIDE: Final = 8
"""Pixels. Smaller cells save steps, and cost more to solve for."""
MOST_CELLS: Final = 20_000
"""Beyond so many they are larger: an exact solution grows faster than their number."""
_SLIGHT: Final = 1e-9
"""Added to the matrix, as a share of its diagonal: in a cell of one colour no vector has a say."""


class Cells:
    """A near inverse of a Laplacian, seen through its cells."""

    def __init__(self, laplacian: Laplacian) -> None:
        side = max(_SIDE, int((len(laplacian.known) / MOST_CELLS) ** 0.5))
        while True:
            y, x = laplacian.y // side, laplacian.x // side
            width = int(x.max()) + 3
            used, first, cells = np.unique(
                (y + 1) * width + x + 1, return_index=True, return_inverse=True
            )
            if len(used) <= MOST_CELLS:
                break
            side *= 2
        self._cells = cells.astype(np.int32)
        self._basis = self._vectors(laplacian.colours, len(used))
        blocks = np.zeros((len(used), 9, kernels.COLOURS, kernels.COLOURS))
        sides = np.stack((y[first], x[first]), axis=1).astype(np.int32)
        kernels.coarsen(
            laplacian.rows,
            laplacian.numbers,
            laplacian.places,
            laplacian.steps,
            self._cells,
            self._basis,
            sides,
            blocks,
        )
        number = np.full(int(used[-1]) + width + 2, -1)
        number[used] = np.arange(len(used))
        around = [
            number[used + down * width + right] for down in (-1, 0, 1) for right in (-1, 0, 1)
        ]
        others = np.stack(around, axis=1)
        there = others >= 0
        starts = np.concatenate(([0], np.cumsum(there.sum(axis=1))))
        matrix = sparse.bsr_matrix((blocks[there], others[there], starts)).tocsc()
        diagonal = matrix.diagonal()
        matrix += sparse.diags(np.where(diagonal > 0, _SLIGHT * diagonal, 1.0))
        # Symmetric and positive: no pivot is needed.
        self._solved = splu(
            matrix,
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        self.count = len(used)
        self._shape = (self.count, kernels.COLOURS)

    def _vectors(self, colours: np.ndarray, count: int) -> np.ndarray:
        """(N, 4): a constant, and the colours from the mean of their cell."""
        shares = np.bincount(self._cells, minlength=count)
        means = [np.bincount(self._cells, colours[:, c], count) / shares for c in range(3)]
        from_mean = colours - np.stack(means, axis=1).astype(np.float32)[self._cells]
        return np.ascontiguousarray(
            np.concatenate((np.ones((len(colours), 1), np.float32), from_mean), axis=1)
        )

    def correct(self, rest: Vector, result: Vector) -> None:
        """Add to a result what would lessen a rest, as far as cells can."""
        coarse = np.zeros(self._shape)
        kernels.gather(self._basis, self._cells, rest, coarse)
        solved = self._solved.solve(coarse.ravel()).reshape(self._shape)
        kernels.spread(self._basis, self._cells, solved, result)
