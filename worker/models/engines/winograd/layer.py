"""Layers: the feature maps of a network, in memory."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Layer(NamedTuple):
    """Some channels of an array; layers that are concatenated later lie in the same array."""

    array: Floats
    """(H, W, channels of all layers in it)."""
    first: int
    """The index of the layer's first channel."""
    channels: int

    @property
    def view(self) -> Floats:
        """The layer alone, (H, W, channels)."""
        return self.array[:, :, self.first : self.first + self.channels]
