"""The coarse level of the preconditioner: four vectors per tile of pixels, solved exactly.

Within a window, a constant and the three colours cost almost nothing in the matting Laplacian. Each
tile is represented by these four, so that the coarse level removes the errors that sweeps over
pixels leave.
"""

from typing import Final

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from worker.imaging.matting.closed_form import kernels
from worker.imaging.matting.closed_form.laplacian import Laplacian, Vector

_SIDE: Final = 8
"""Pixels of a tile's side. Smaller tiles need fewer iterations but cost more to solve."""
MAX_TILES: Final = 20_000
"""Tiles become larger rather than more: the cost of an exact solution grows faster than they do."""
_REGULARISATION: Final = 1e-9
"""Added to the diagonal, relative to it: the matrix is singular where a tile has one colour."""


class CoarseGrid:
    """An approximate inverse of a Laplacian on tiles of pixels."""

    def __init__(self, laplacian: Laplacian) -> None:
        side = max(_SIDE, int((len(laplacian.rhs) / MAX_TILES) ** 0.5))
        while True:
            y, x = laplacian.y // side, laplacian.x // side
            width = int(x.max()) + 3
            keys = (y + 1) * width + x + 1
            keys, first, tiles = np.unique(keys, return_index=True, return_inverse=True)
            if len(keys) <= MAX_TILES:
                break
            side *= 2
        self.count = len(keys)
        self._shape = (self.count, kernels.VECTORS)
        self._tiles = tiles.astype(np.int32)
        self._basis = self._vectors(laplacian.colours)
        blocks = np.zeros((self.count, 9, kernels.VECTORS, kernels.VECTORS))
        coordinates = np.stack((y[first], x[first]), axis=1).astype(np.int32)
        kernels.coarsen(*laplacian.storage, self._tiles, self._basis, coordinates, blocks)
        index_of = np.full(int(keys[-1]) + width + 2, -1)
        index_of[keys] = np.arange(self.count)
        steps = np.add.outer((-width, 0, width), (-1, 0, 1)).ravel()
        neighbours = index_of[keys[:, np.newaxis] + steps]
        exists = neighbours >= 0
        starts = np.concatenate(([0], np.cumsum(exists.sum(axis=1))))
        matrix = sparse.bsr_matrix((blocks[exists], neighbours[exists], starts)).tocsc()
        diagonal = matrix.diagonal()
        matrix += sparse.diags(np.where(diagonal > 0, _REGULARISATION * diagonal, 1.0))
        # The matrix is symmetric and positive definite, so that no pivoting is needed.
        options = {"SymmetricMode": True}
        self._factors = splu(matrix, "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)

    def _vectors(self, colours: np.ndarray) -> np.ndarray:
        """Return (N, 4): a constant, and each pixel's colour relative to the mean of its tile."""
        sizes = np.bincount(self._tiles, minlength=self.count)
        means = [np.bincount(self._tiles, colours[:, c], self.count) / sizes for c in range(3)]
        from_mean = colours - np.stack(means, axis=1).astype(np.float32)[self._tiles]
        return np.insert(from_mean, 0, 1, axis=1)

    def correct(self, residual: Vector, correction: Vector) -> None:
        """Add the solution of the coarse equations for `residual` to `correction`."""
        coarse = np.zeros(self._shape)
        kernels.restrict(self._basis, self._tiles, residual, coarse)
        solved = self._factors.solve(coarse.ravel()).reshape(self._shape)
        kernels.prolong(self._basis, self._tiles, solved, correction)
