"""Masks made on a device: 8-bit images go in, 8-bit masks come out.

Resizing, normalisation, the network, and the conversion of its saliency map to a mask all run on
the device, and nothing is copied back in between. The result is that of `to_input` and `soft_mask`
in `worker.imaging.masks`, which do the same on the CPU.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from worker.imaging.lanczos import lanczos_weights
from worker.models.files.profile import Profile

_MAX_MATRICES: Final = 16
"""Matrices kept on a device: those of four image sizes, 16 MB each for a side of 4,000 pixels."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """How images become a model's input and its output a mask; equal ones can share a batch."""

    size: tuple[int, int]
    """Width and height of the model's input."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: Literal["rgb", "bgr"]
    sigmoid: bool
    range: tuple[float, float]
    """The map's values for background and foreground, after the sigmoid."""
    stretch: bool

    @classmethod
    def of(cls, profile: Profile, size: tuple[int, int]) -> "Conversion":
        """Return what a profile says, for an input of this width and height."""
        return cls(
            size=size,
            mean=tuple(np.broadcast_to(profile.mean, 3).tolist()),
            std=tuple(np.broadcast_to(profile.std, 3).tolist()),
            channels=profile.channels,
            sigmoid=profile.sigmoid,
            range=profile.range,
            stretch=profile.stretch,
        )

    @property
    def scale(self) -> NDArray[np.float32]:
        """The factor (3, 1, 1) for pixel values 0…255."""
        return np.asarray(1 / (255 * np.array(self.std)), np.float32).reshape(3, 1, 1)

    @property
    def offset(self) -> NDArray[np.float32]:
        """The summand (3, 1, 1) after multiplication by `scale`."""
        offset = -np.array(self.mean) / np.array(self.std)
        return np.asarray(offset, np.float32).reshape(3, 1, 1)

    @property
    def channel_order(self) -> NDArray[np.int64]:
        """The index in RGB of each of the model's channels."""
        return np.array([0, 1, 2] if self.channels == "rgb" else [2, 1, 0])


class DeviceMask(NamedTuple):
    """The mask of one image, copied back from the device."""

    mask: NDArray[np.uint8]
    """(H, W), of the image's size; meaningless unless `is_finite`."""
    minimum: float
    """Of the saliency map, after sigmoid and `range`."""
    maximum: float
    is_finite: bool
    """Whether the model's output contains neither NaN nor infinity."""


@dataclass(frozen=True, eq=False)
class DeviceImage:
    """An image in a device's memory."""

    pixels: Any
    """uint8 (H, W, 3), as a tensor of the engine's library."""
    size: tuple[int, int]
    """Width and height."""


class DeviceSegmenter(Protocol):
    """Makes masks of images on an engine's device."""

    def upload(self, rgb: NDArray[np.uint8], size: tuple[int, int]) -> DeviceImage:
        """Copy an image (H, W, 3) to the device, to be resized to `size` (width, height).

        Any thread may call this while the engine runs other images. Raises what `masks` raises.
        """

    def masks(self, images: Sequence[DeviceImage], conversion: Conversion) -> Sequence[DeviceMask]:
        """Run the network on a batch of images, whose sizes may differ; one call at a time.

        Raises `ModelInvalid`, `DeviceOutOfMemory` and `DeviceLost` as `Engine.infer` does.
        """


class BaseSegmenter(ABC):
    """What the segmenters of both libraries share: uploads, resize matrices and batch limits."""

    def __init__(
        self, *, max_batch: int, translate_errors: Callable[[str], AbstractContextManager[None]]
    ) -> None:
        """`translate_errors(network_input)` makes a context manager that raises our own errors."""
        self._max_batch = max_batch
        self._translate_errors = translate_errors

        def build(source: int, target: int, horizontal: bool) -> Any:
            weights = lanczos_weights(source, target)
            return self._copy_to_device(np.ascontiguousarray(weights.T) if horizontal else weights)

        # Two threads may build the same matrix at once, which is harmless.
        self._matrix = lru_cache(maxsize=_MAX_MATRICES)(build)

    def upload(self, rgb: NDArray[np.uint8], size: tuple[int, int]) -> DeviceImage:
        """See `DeviceSegmenter`."""
        image_size = (rgb.shape[1], rgb.shape[0])
        with self._translate_errors(f"an image of {rgb.shape}"):
            self._resize_matrices(image_size, size)
            self._resize_matrices(size, image_size)
            return DeviceImage(self._copy_to_device(rgb), image_size)

    def masks(self, images: Sequence[DeviceImage], conversion: Conversion) -> list[DeviceMask]:
        """See `DeviceSegmenter`."""
        with self._translate_errors(f"{len(images)} images at {conversion.size}"):
            return [
                mask
                for first in range(0, len(images), self._max_batch)
                for mask in self._masks(images[first : first + self._max_batch], conversion)
            ]

    def close(self) -> None:
        """Free the device's memory; a running call keeps what it needs until it is done."""
        self._matrix.cache_clear()

    def _resize_matrices(self, source: tuple[int, int], target: tuple[int, int]) -> tuple[Any, Any]:
        """Return the LANCZOS matrices between two sizes (width, height), cached on the device.

        The first one (target, source) resizes the height from the left, the second one (source,
        target) the width from the right.
        """
        return self._matrix(source[1], target[1], False), self._matrix(source[0], target[0], True)

    @abstractmethod
    def _copy_to_device(self, array: NDArray[Any]) -> Any:
        """Return a copy of an array in the device's memory."""

    @abstractmethod
    def _masks(self, images: Sequence[DeviceImage], conversion: Conversion) -> list[DeviceMask]:
        """Return the masks of at most `max_batch` images."""
