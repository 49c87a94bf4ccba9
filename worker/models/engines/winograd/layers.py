"""Pixels in memory, and the steps that make them of each other."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from worker.models.engines.winograd import kernels
from worker.models.engines.winograd.kernels import FREQUENCIES, TILE
from worker.models.engines.winograd.team import Team

Floats = NDArray[np.float32]

_SCRATCH: Final = 2**20
"""Numbers of a thread's share of a convolution: they are to stay in its cache."""
_FEW: Final = 2000
"""Tiles below which the threads share the frequencies: each weight is read once."""
_ROWS: Final = 2**17
"""Numbers of a thread's share of all other steps."""

# G of F(4×4, 3×3), from Lavin & Gray.
_G: Final = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)


class Layer(NamedTuple):
    """Some channels of an array of pixels: layers that are put together later lie together."""

    pixels: Floats
    """(H, W, all channels)"""
    first: int
    channels: int

    @property
    def part(self) -> Floats:
        """(H, W, channels), a view."""
        return self.pixels[:, :, self.first : self.first + self.channels]


class Scratch(NamedTuple):
    """Numbers that a step needs while it runs."""

    own: int = 0
    """Each thread for itself."""
    common: int = 0


class Step(ABC):
    """What makes one layer."""

    target: Layer

    @property
    def scratch(self) -> Scratch:
        """What it needs while it runs."""
        return Scratch()

    @abstractmethod
    def run(self, team: Team) -> None:
        """Write the layer."""


@dataclass(frozen=True, kw_only=True)
class Filtering(Step):
    """A 3×3 convolution with stride 1, of pixels `step` apart, in tiles."""

    source: Layer
    target: Layer
    weights: Floats
    """(36, channels, channels of the target): see `frequencies`."""
    bias: Floats
    rectified: bool
    step: int
    places: NDArray[np.int64]
    """Where tiles begin, as (row, column)."""

    @property
    def scratch(self) -> Scratch:
        """What it needs while it runs."""
        if len(self.places) < _FEW:
            return Scratch(common=self._each * (len(self.places) + 1))
        return Scratch(own=_SCRATCH + 2 * self._each)

    @property
    def _each(self) -> int:
        """Numbers of a tile."""
        return FREQUENCIES * (self.source.channels + self.target.channels)

    def run(self, team: Team) -> None:
        """Write the layer."""
        if len(self.places) < _FEW:
            self._by_frequency(team)
            return
        # As many shares as threads, or a multiple of that.
        shares = -(-len(self.places) * self._each // (_SCRATCH * team.size)) * team.size
        size = -(-len(self.places) // shares)

        def tiles(places: NDArray[np.int64], own: Floats) -> None:
            found, made = self._arrays(len(places), own)
            self._analyse(places, slice(0, len(places)), found)
            kernels.multiplied(found, self.weights, made, len(places), 0, FREQUENCIES)
            self._synthesise(made, places, slice(0, len(places)))

        starts = range(0, len(self.places), size)
        team.share(tiles, (self.places[at : at + size] for at in starts))

    def _by_frequency(self, team: Team) -> None:
        """Each weight is read by one thread alone: of a few tiles they are most of the memory."""
        places, count = self.places, len(self.places)
        found, made = self._arrays(count, team.common)
        size = -(-count // team.size)
        parts = [slice(at, min(at + size, count)) for at in range(0, count, size)]
        team.share(lambda part, _: self._analyse(places, part, found), parts)
        team.share(
            lambda f, _: kernels.multiplied(found, self.weights, made, count, f, f + 1),
            range(FREQUENCIES),
        )
        team.share(lambda part, _: self._synthesise(made, places, part), parts)

    def _arrays(self, tiles: int, memory: Floats) -> tuple[Floats, Floats]:
        # One tile more than there is: at a power of two all frequencies would fall on the same
        # lines of the cache.
        middle = FREQUENCIES * (tiles + 1) * self.source.channels
        end = middle + FREQUENCIES * (tiles + 1) * self.target.channels
        return (
            memory[:middle].reshape(FREQUENCIES, tiles + 1, -1),
            memory[middle:end].reshape(FREQUENCIES, tiles + 1, -1),
        )

    def _analyse(self, places: NDArray[np.int64], part: slice, found: Floats) -> None:
        source = self.source
        kernels.to_frequencies(
            *(source.pixels, source.first, self.step, places, part.start, part.stop, found)
        )

    def _synthesise(self, made: Floats, places: NDArray[np.int64], part: slice) -> None:
        target = self.target
        kernels.to_pixels(
            *(made, self.bias, _least(self.rectified), target.pixels, target.first),
            *(self.step, places, part.start, part.stop),
        )


@dataclass(frozen=True, kw_only=True)
class Gathering(Step):
    """Any other square convolution."""

    source: Layer
    target: Layer
    weights: Floats
    """(side · side · channels, channels of the target)"""
    bias: Floats
    rectified: bool
    side: int
    stride: int
    step: int
    before: int
    """Pixels of nothing above and left."""

    @property
    def scratch(self) -> Scratch:
        """A row of the target."""
        return Scratch(own=self.target.pixels.shape[1] * sum(self.weights.shape))

    def run(self, team: Team) -> None:
        """Write the layer."""

        def rows(part: range, own: Floats) -> None:
            wide, (taps, channels) = self.target.pixels.shape[1], self.weights.shape
            kernels.gathered(
                self.source.pixels,
                self.source.first,
                self.side,
                self.stride,
                self.step,
                self.before,
                self.weights,
                self.bias,
                _least(self.rectified),
                self.target.pixels,
                self.target.first,
                part.start,
                part.stop,
                own[: wide * taps].reshape(wide, taps),
                own[wide * taps : wide * (taps + channels)].reshape(wide, channels),
            )

        team.share(rows, _strips(self.target))


@dataclass(frozen=True, kw_only=True)
class Sampling(Step):
    """Pixels of a smaller or larger layer, each of its neighbourhood there, channel by channel."""

    kernel: Callable[..., None]
    """`kernels.pooled` or `kernels.resized`."""
    source: Layer
    target: Layer

    def run(self, team: Team) -> None:
        """Write the layer."""
        source, target = self.source, self.target

        def rows(part: range, _: Floats) -> None:
            self.kernel(
                *(source.pixels, source.first, target.pixels, target.first),
                *(source.channels, part.start, part.stop),
            )

        team.share(rows, _strips(target))


@dataclass(frozen=True, kw_only=True)
class Each(Step):
    """Something of every number by itself."""

    kind: str
    """`add`, `relu`, `sigmoid` or `copy`."""
    sources: Sequence[Layer]
    target: Layer

    def run(self, team: Team) -> None:
        """Write the layer."""
        function = {"add": np.add, "relu": _relu, "sigmoid": expit, "copy": np.copyto}[self.kind]

        def rows(part: range, _: Floats) -> None:
            here = slice(part.start, part.stop)
            into = self.target.part[here]
            if self.kind == "copy":
                np.copyto(into, self.sources[0].part[here])
            else:
                function(*(source.part[here] for source in self.sources), out=into)

        team.share(rows, _strips(self.target))


def _relu(values: Floats, *, out: Floats) -> None:
    np.maximum(values, np.float32(0), out=out)


def frequencies(weights: Floats) -> Floats:
    """Weights (target, source, 3, 3) as (36, source, target): G w Gᵀ."""
    both = np.kron(_G, _G).astype(np.float32)
    target, source = weights.shape[:2]
    return (both @ weights.transpose(2, 3, 1, 0).reshape(9, -1)).reshape(-1, source, target)


def tiles(height: int, width: int, step: int) -> NDArray[np.int64]:
    """Where the tiles of pixels that are `step` apart begin, as (row, column)."""

    def begins(length: int) -> Iterator[int]:
        for phase in range(min(step, length)):
            yield from range(phase, length, TILE * step)

    rows, columns = list(begins(height)), list(begins(width))
    return np.array([(row, column) for row in rows for column in columns], np.int64)


def _least(rectified: bool) -> np.float32:
    return np.float32(0 if rectified else -np.inf)


def _strips(target: Layer) -> Iterator[range]:
    height, width, _ = target.pixels.shape
    rows = max(1, _ROWS // (width * target.channels))
    return (range(top, min(top + rows, height)) for top in range(0, height, rows))
