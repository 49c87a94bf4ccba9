"""What every inference engine offers, whichever library runs the network."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.models.engines.on_device import Pictures

__all__ = ["Engine", "EngineFacts"]


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """Where and how a loaded network really runs, read back from it and not from the request.

    Attributes:
        engine: the library that runs the network, e.g. ``torch``.
        provider: that library's backend, e.g. ``torch-cuda``.
        device: the device the weights lie on, e.g. ``cuda:0`` or ``cpu``.
        dtype: the number type of the convolutions' weights, e.g. ``float16``.
    """

    engine: str
    provider: str
    device: str
    dtype: str


class Engine(Protocol):
    """A segmentation network, loaded on one device and ready to run, one call at a time."""

    most: int
    """Images at once that it is good for and that fit into its device's memory."""

    @property
    def facts(self) -> EngineFacts:
        """Where and how the network runs."""
        ...

    @property
    def input_size(self) -> tuple[int | None, int | None]:
        """The (width, height) in pixels that the model demands; None: any."""
        ...

    @property
    def bytes(self) -> int:
        """Bytes of the weights, on whichever device they lie: what the cache's budget counts."""
        ...

    @property
    def pictures(self) -> Pictures | None:
        """Its way from pictures to masks; None where that is no gain, as on a CPU."""
        ...

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on prepared images.

        Args:
            batch: float32 of shape (N, 3, H, W), normalised as the model's profile says.

        Returns:
            The output that is the map, float32 of shape (N, h, w): saliency in 0…1, or logits,
            as the model's profile says.

        Raises:
            ValueError: the batch has another shape than the model takes.
            ModelInvalid: the model refuses the batch, or gives no map.
            DeviceOutOfMemory: the batch does not fit into the device's memory.
            DeviceLost: the device takes no more calls of this process.
        """
        ...

    def close(self) -> None:
        """Give the network's memory back. Harmless when repeated; ``infer`` fails afterwards."""
        ...
