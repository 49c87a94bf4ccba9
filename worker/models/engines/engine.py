"""The interface that every inference engine implements, whichever library runs the network."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.models.engines.segmenter import DeviceSegmenter

__all__ = ["Engine", "EngineFacts"]


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """Where and how a loaded network really runs, read back from it rather than from the request.

    Attributes:
        engine: the library that runs the network, e.g. ``torch``.
        provider: that library's backend, e.g. ``torch-cuda``.
        device: the device that holds the weights, e.g. ``cuda:0`` or ``cpu``.
        dtype: the number type of the convolutions' weights, e.g. ``float16``.
    """

    engine: str
    provider: str
    device: str
    dtype: str


class Engine(Protocol):
    """A segmentation network that is loaded on one device; it runs one call at a time."""

    max_batch: int
    """The most images per call that fit into the device's memory and make it faster."""

    @property
    def facts(self) -> EngineFacts:
        """Where and how the network runs."""
        ...

    @property
    def input_size(self) -> tuple[int | None, int | None]:
        """The (width, height) in pixels that the model requires; None: any."""
        ...

    @property
    def bytes(self) -> int:
        """Bytes of the weights on the device; the model cache's budget counts them."""
        ...

    @property
    def segmenter(self) -> DeviceSegmenter | None:
        """Makes masks of images on the device; None where that gains nothing, as on a CPU."""
        ...

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on prepared images.

        Args:
            batch: float32 of shape (N, 3, H, W), normalised as the model's profile says.

        Returns:
            Saliency maps, float32 of shape (N, h, w): values in 0…1, or logits, as the model's
            profile says.

        Raises:
            ValueError: the batch does not have the shape that the model takes.
            ModelInvalid: the model refuses the batch, or its output is not a saliency map.
            DeviceOutOfMemory: the batch does not fit into the device's memory.
            DeviceLost: the device accepts no more calls from this process.
        """
        ...

    def close(self) -> None:
        """Free the network's memory. Harmless when repeated; ``infer`` fails afterwards."""
        ...
