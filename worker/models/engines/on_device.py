"""What an engine on a GPU offers besides: pictures in as bytes, masks out as bytes.

Between the two nothing comes back from the device: squashed, normalised, run, stretched, enlarged
and turned to levels there, as `to_input` and `soft_mask` of `worker.imaging.masks` do on the CPU.
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

_MATRICES: Final = 16
"""Kept on a device: those of four sizes of pictures, 16 MB each for a side of 4,000 pixels."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a model is fed and its map read; pictures with the same one can share a batch."""

    size: tuple[int, int]
    """Width and height of its input."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: Literal["rgb", "bgr"]
    sigmoid: bool
    stretch: bool

    @classmethod
    def of(cls, profile: Profile, size: tuple[int, int]) -> "Reading":
        """What a profile says, for an input of a width and height."""
        return cls(
            size=size,
            mean=tuple(np.broadcast_to(profile.mean, 3).tolist()),
            std=tuple(np.broadcast_to(profile.std, 3).tolist()),
            channels=profile.channels,
            sigmoid=profile.sigmoid,
            stretch=profile.stretch,
        )

    @property
    def scale(self) -> NDArray[np.float32]:
        """What a level 0…255 is multiplied by, (3, 1, 1)."""
        scale: NDArray[np.float64] = 1 / (255 * np.array(self.std))
        return scale.astype(np.float32).reshape(3, 1, 1)

    @property
    def offset(self) -> NDArray[np.float32]:
        """What is added then, (3, 1, 1)."""
        offset: NDArray[np.float64] = -np.array(self.mean) / np.array(self.std)
        return offset.astype(np.float32).reshape(3, 1, 1)

    @property
    def order(self) -> NDArray[np.int64]:
        """Which of red, green and blue is the model's first channel, second and third."""
        return np.array([0, 1, 2] if self.channels == "rgb" else [2, 1, 0])


class Seen(NamedTuple):
    """What a model sees in one picture."""

    mask: NDArray[np.uint8]
    """(H, W) of the picture's size; without meaning unless `finite`."""
    low: float
    """The least value of the map, after the sigmoid where there is one."""
    high: float
    finite: bool
    """Whether the model's output is made of numbers alone."""


@dataclass(frozen=True, eq=False)
class Uploaded:
    """A picture that lies on a device."""

    pixels: Any
    """(H, W, 3) uint8, as the engine's library holds it."""
    width: int
    height: int


class Pictures(Protocol):
    """An engine's way from pictures to masks."""

    def upload(self, rgb: NDArray[np.uint8], size: tuple[int, int]) -> Uploaded:
        """Put a picture (H, W, 3) on the device, with what brings it to `size` (width, height).

        In any thread, while the engine runs others. Raises what `masks` raises.
        """
        ...

    def masks(self, pictures: Sequence[Uploaded], reading: Reading) -> Sequence[Seen]:
        """Run the network on pictures of whatever sizes at once; one call at a time.

        Raises `ModelInvalid`, `DeviceOutOfMemory` and `DeviceLost` as `Engine.infer` does.
        """
        ...


class OnDevice(ABC):
    """What engines have in common there: uploads with their matrices, batches of what fits."""

    def __init__(
        self, *, most: int, speaking: Callable[[str], AbstractContextManager[None]]
    ) -> None:
        """`most` images at once; `speaking` makes a block whose errors are the device's."""
        self._most = most
        self._speaking = speaking
        self._matrices = Matrices(self._put)

    def upload(self, rgb: NDArray[np.uint8], size: tuple[int, int]) -> Uploaded:
        """See `Pictures`."""
        height, width = rgb.shape[:2]
        with self._speaking(f"a picture of {rgb.shape}"):
            self._matrices.foresee((width, height), size)
            return Uploaded(self._put(rgb), width, height)

    def masks(self, pictures: Sequence[Uploaded], reading: Reading) -> list[Seen]:
        """See `Pictures`."""
        with self._speaking(f"{len(pictures)} pictures at {reading.size}"):
            return [
                seen
                for first in range(0, len(pictures), self._most)
                for seen in self._masks(pictures[first : first + self._most], reading)
            ]

    def close(self) -> None:
        """Give the memory back, once what runs is done."""
        self._matrices.clear()

    @abstractmethod
    def _put(self, array: NDArray[Any]) -> Any:
        """A copy on the device."""

    @abstractmethod
    def _masks(self, pictures: Sequence[Uploaded], reading: Reading) -> list[Seen]:
        """What is seen in at most so many pictures."""


class Matrices:
    """LANCZOS matrices on a device, those used last. For any thread."""

    def __init__(self, put: Callable[[NDArray[np.float32]], Any]) -> None:
        """`put` copies an array to the device."""

        def made(source: int, target: int, across: bool) -> Any:
            weights = lanczos_weights(source, target)
            return put(np.ascontiguousarray(weights.T) if across else weights)

        # What two threads miss at once is made twice, which does no harm.
        self._kept = lru_cache(maxsize=_MATRICES)(made)

    def down(self, source: int, target: int) -> Any:
        """(target, source): to multiply a picture by from the left, for its height."""
        return self._kept(source, target, False)

    def across(self, source: int, target: int) -> Any:
        """(source, target): to multiply a picture by from the right, for its width."""
        return self._kept(source, target, True)

    def foresee(self, picture: tuple[int, int], model: tuple[int, int]) -> None:
        """Make those of a picture and a map of these widths and heights, if they are not there."""
        for source, target in ((picture, model), (model, picture)):
            self.across(source[0], target[0])
            self.down(source[1], target[1])

    def clear(self) -> None:
        """Give their memory back."""
        self._kept.cache_clear()
