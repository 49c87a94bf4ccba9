"""The interface that every inference engine implements, whichever library runs the network."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.models.engines.segmenter import DeviceSegmenter


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """Where and how a loaded network really runs, as read back from it."""

    engine: str
    """The library that runs the network, such as `torch`."""
    provider: str
    """That library's backend, such as `torch-cuda`."""
    device: str
    """Holds the weights: `cpu`, or such as `cuda:0`."""
    dtype: str
    """The number type of the convolutions' weights, such as `float16`."""
    channels: int = 1
    """Channels of the output that has the saliency map; known after the first inference."""


class Engine(Protocol):
    """A segmentation network that is loaded on one device; it runs one call at a time."""

    max_batch: int
    """The most images per call that fit into the device's memory and make it faster."""

    @property
    def facts(self) -> EngineFacts:
        """Where and how the network runs."""

    @property
    def input_size(self) -> tuple[int | None, int | None]:
        """The (width, height) in pixels that the model requires; None: any."""

    @property
    def bytes(self) -> int:
        """Bytes of the weights on the device; the model cache's budget counts them."""

    @property
    def segmenter(self) -> DeviceSegmenter | None:
        """Makes masks of images on the device; None where that gains nothing, as on a CPU."""

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the saliency maps (N, h, w) of prepared images (N, 3, H, W), both float32.

        The model's profile says how images are normalised, and whether maps are 0…1 or logits.

        Raises `ValueError` for a batch of another shape than the model takes, `ModelInvalid` when
        the model refuses the batch or its output is not a saliency map, `DeviceOutOfMemory`, and
        `DeviceLost` when the device accepts no more calls from this process.
        """

    def close(self) -> None:
        """Free the network's memory; `infer` then raises `RuntimeError`. Harmless when repeated."""
