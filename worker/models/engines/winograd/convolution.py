"""Convolutions with fused bias and ReLU: Winograd's for 3×3 with stride 1, im2col for others."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.models.engines.winograd import kernels
from worker.models.engines.winograd.kernels import TILE, TRANSFORM_SIZE
from worker.models.engines.winograd.layer import Floats, Layer
from worker.models.engines.winograd.step import RowStep, Scratch, Step
from worker.models.engines.winograd.team import Team

_SCRATCH: Final = 2**20
"""Scratch elements of a thread's share of tiles, few enough to stay in its core's cache."""
_FEW_TILES: Final = 2000
"""Below this number, threads share the transform's elements instead of the tiles."""

# G of F(4×4, 3×3), from Lavin & Gray.
_G: Final = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24


@dataclass(frozen=True, kw_only=True)
class Convolution(Step):
    """What the convolutions have in common."""

    source: Layer
    target: Layer
    weights: Floats
    """Winograd: (36, source channels, target channels), see `transform_weights`; im2col:
    (side · side · source channels, target channels)."""
    bias: Floats
    lower_bound: np.float32
    """Of every output: 0 for a ReLU, otherwise minus infinity."""
    dilation: int


@dataclass(frozen=True, kw_only=True)
class WinogradConvolution(Convolution):
    """A 3×3 convolution with stride 1 that keeps the size of the layer, in tiles of 4×4 pixels.

    With a dilation above 1, the pixels of a tile are that far apart.
    """

    tiles: NDArray[np.int64]
    """(row, column) of the first pixel of each tile, see `tile_origins`."""

    @property
    def scratch(self) -> Scratch:
        """Memory for the transformed tiles of the source and of the target."""
        if len(self.tiles) < _FEW_TILES:
            return Scratch(shared=self._tile_elements * (len(self.tiles) + 1))
        return Scratch(private=_SCRATCH + 2 * self._tile_elements)

    @property
    def _tile_elements(self) -> int:
        return TRANSFORM_SIZE * (self.source.channels + self.target.channels)

    def run(self, team: Team) -> None:
        """Write the target."""
        if len(self.tiles) < _FEW_TILES:
            self._run_by_element(team)
            return
        # A multiple of the number of threads, so that all end at about the same time.
        elements = len(self.tiles) * self._tile_elements
        shares = -(-elements // (_SCRATCH * team.size)) * team.size
        size = -(-len(self.tiles) // shares)

        def run_tiles(tiles: NDArray[np.int64], scratch: Floats) -> None:
            inputs, products = self._split(scratch, len(tiles))
            self._transform_input(tiles, slice(0, len(tiles)), inputs)
            kernels.multiply(inputs, self.weights, products, len(tiles), 0, TRANSFORM_SIZE)
            self._transform_output(products, tiles, slice(0, len(tiles)))

        starts = range(0, len(self.tiles), size)
        team.run(run_tiles, (self.tiles[start : start + size] for start in starts))

    def _run_by_element(self, team: Team) -> None:
        """Let only one thread read each weight: with few tiles, weights are most of the data."""
        tiles, count = self.tiles, len(self.tiles)
        inputs, products = self._split(team.shared, count)
        size = -(-count // team.size)
        parts = [slice(start, min(start + size, count)) for start in range(0, count, size)]
        team.run(lambda part, _: self._transform_input(tiles, part, inputs), parts)
        team.run(
            lambda element, _: kernels.multiply(
                inputs, self.weights, products, count, element, element + 1
            ),
            range(TRANSFORM_SIZE),
        )
        team.run(lambda part, _: self._transform_output(products, tiles, part), parts)

    def _split(self, scratch: Floats, tiles: int) -> tuple[Floats, Floats]:
        """Return arrays (36, tiles + 1, channels) for transformed inputs and for products."""
        # One tile more than needed: with a power of two, all 36 elements would map to the same
        # cache lines.
        middle = TRANSFORM_SIZE * (tiles + 1) * self.source.channels
        end = middle + TRANSFORM_SIZE * (tiles + 1) * self.target.channels
        return (
            scratch[:middle].reshape(TRANSFORM_SIZE, tiles + 1, -1),
            scratch[middle:end].reshape(TRANSFORM_SIZE, tiles + 1, -1),
        )

    def _transform_input(self, tiles: NDArray[np.int64], part: slice, inputs: Floats) -> None:
        source = self.source
        kernels.transform_input(
            *(source.array, source.first, self.dilation, tiles, part.start, part.stop, inputs)
        )

    def _transform_output(self, products: Floats, tiles: NDArray[np.int64], part: slice) -> None:
        target = self.target
        kernels.transform_output(
            *(products, self.bias, self.lower_bound, target.array, target.first),
            *(self.dilation, tiles, part.start, part.stop),
        )


@dataclass(frozen=True, kw_only=True)
class Im2colConvolution(Convolution, RowStep):
    """Any other convolution with a square kernel: gather neighbourhoods as rows, then one GEMM."""

    side: int
    stride: int
    padding: int
    """Zero pixels above and to the left."""

    @property
    def scratch(self) -> Scratch:
        """Memory for the neighbourhoods of one row of the target, and for their products."""
        return Scratch(private=self.target.array.shape[1] * sum(self.weights.shape))

    def run_rows(self, rows: range, scratch: Floats) -> None:
        """Write rows of the target."""
        width, (taps, channels) = self.target.array.shape[1], self.weights.shape
        kernels.convolve_im2col(
            *(self.source.array, self.source.first),
            *(self.side, self.stride, self.dilation, self.padding),
            *(self.weights, self.bias, self.lower_bound),
            *(self.target.array, self.target.first, rows.start, rows.stop),
            scratch[: width * taps].reshape(width, taps),
            scratch[width * taps : width * (taps + channels)].reshape(width, channels),
        )


def transform_weights(weights: Floats) -> Floats:
    """Transform weights (target, source, 3, 3) to G w Gᵀ, as (36, source, target)."""
    transform = np.kron(_G, _G).astype(np.float32)
    target, source = weights.shape[:2]
    return (transform @ weights.transpose(2, 3, 1, 0).reshape(9, -1)).reshape(-1, source, target)


def tile_origins(height: int, width: int, dilation: int) -> NDArray[np.int64]:
    """Return the (row, column) of the first pixel of each tile that covers a layer, (n, 2)."""
    step = TILE * dilation
    rows, columns = (
        [first for phase in range(min(dilation, length)) for first in range(phase, length, step)]
        for length in (height, width)
    )
    return np.array([(row, column) for row in rows for column in columns], np.int64)
