"""Steps of a network: each computes one layer from others."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from worker.models.engines.winograd.layer import Floats, Layer
from worker.models.engines.winograd.team import Team

_STRIP_ELEMENTS: Final = 2**17
"""Elements of the target in a thread's share of a step that is not a Winograd convolution."""


class Scratch(NamedTuple):
    """Elements of float32 memory that a step needs while it runs."""

    private: int = 0
    """For each thread."""
    shared: int = 0


class Step(ABC):
    """Computes one layer."""

    target: Layer

    @property
    def scratch(self) -> Scratch:
        """Memory that the step needs while it runs."""
        return Scratch()

    @abstractmethod
    def run(self, team: Team) -> None:
        """Write the target."""


class RowStep(Step):
    """A step for which the threads share the rows of the target."""

    def run(self, team: Team) -> None:
        """Write the target."""
        height, width, _ = self.target.array.shape
        rows = max(1, _STRIP_ELEMENTS // (width * self.target.channels))
        strips = (range(top, min(top + rows, height)) for top in range(0, height, rows))
        team.run(self.run_rows, strips)

    @abstractmethod
    def run_rows(self, rows: range, scratch: Floats) -> None:
        """Write rows of the target."""


@dataclass(frozen=True, kw_only=True)
class Resample(RowStep):
    """Max-pooling or bilinear resizing, channel by channel."""

    kernel: Callable[..., None]
    """`kernels.max_pool` or `kernels.resize`."""
    source: Layer
    target: Layer

    def run_rows(self, rows: range, _: Floats) -> None:
        """Write rows of the target."""
        source, target = self.source, self.target
        self.kernel(
            *(source.array, source.first, target.array, target.first),
            *(source.channels, rows.start, rows.stop),
        )


@dataclass(frozen=True, kw_only=True)
class Elementwise(RowStep):
    """A function of the elements at the same position in one or two layers."""

    function: Callable[..., object]
    """Takes one array per source, and the array `out` to write to."""
    sources: Sequence[Layer]
    target: Layer

    def run_rows(self, rows: range, _: Floats) -> None:
        """Write rows of the target."""
        part = slice(rows.start, rows.stop)
        self.function(*(source.view[part] for source in self.sources), out=self.target.view[part])


def relu(values: Floats, *, out: Floats) -> None:
    """Write the values, and 0 for negative ones, to `out`."""
    np.maximum(values, np.float32(0), out=out)
