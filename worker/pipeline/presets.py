"""What each preset does, as data: `default`, and the two systems Cutwork replaces.

A preset is a starting point. Every option still applies on top of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from producer.contract.options import Preset as Name
from worker.imaging.libvips import resize_lanczos
from worker.imaging.masks import Depth, Map, Pixels, Size, isnet_mask, rembg_mask, soft_mask
from worker.models.files.profile import Profile

LARGEST: Final = 50_000_000
"""Pixels of a picture that a device takes: some 27 bytes of its memory each, at their peak."""


class ReadMap(Protocol):
    """How a saliency map becomes a mask of the picture's size."""

    def __call__(self, saliency: Map, size: Size, *, stretched: bool, depth: Depth) -> Pixels:
        """See `worker.imaging.masks`."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One way from a picture to a cut-out."""

    read_map: ReadMap
    profile: Profile | None = None
    """What is fed to any model; None: what the model itself expects."""
    threshold: float | None = None
    """When the job names none; None keeps the soft mask."""
    keeps_transparency: bool = False
    """Whether the source's own alpha stays in the cut-out and the mask."""
    estimates_foreground: bool = False
    """Whether soft edges get the subject's own colour when the job does not say."""
    as_rembg: bool = False
    """Whether colours are rembg's to the last bit: a plain cut-out is a composite with transparent
    black, which darkens its edges, and estimated ones are cut off, inside the subject too."""
    squash: Callable[[NDArray[np.uint8], Size], NDArray[np.uint8]] | None = None
    """LANCZOS on the way to a model; None is Pillow's, as rembg has it."""
    may_shrink: bool = False
    """Whether a picture that only a model sees may be decoded smaller."""
    on_device: bool = False
    """Whether `worker.models.engines.on_device` does what this preset does."""
    mattes_mask: bool = False
    """Whether matting changes the mask too, and not only the cut-out's alpha."""

    def feed(self, profile: Profile) -> Profile:
        """What a model of this profile is fed: how its output is read stays the model's."""
        if self.profile is None:
            return profile
        return self.profile.model_copy(
            update={
                "layout": profile.layout,
                "channels": profile.channels,
                "output": self.profile.output if profile.output is None else profile.output,
                "sigmoid": profile.sigmoid,
                "batch": profile.batch,
            }
        )


def fits_device(preset: Preset, profile: Profile, pixels: Pixels) -> bool:
    """Whether an engine's `pictures` make of (H, W, 3) pixels the mask that would be made here.

    What they do not know is a model's own way of reading pixels, and 16 bits a channel; and a very
    large picture would take the device's memory from the network.
    """
    return (
        preset.on_device
        and profile.divisor == "255"
        and profile.resampling == "lanczos"
        and profile.layout == "nchw"
        and pixels.dtype == np.uint8
        and pixels.shape[0] * pixels.shape[1] <= LARGEST
    )


PRESETS: Final[dict[Name, Preset]] = {
    "default": Preset(
        read_map=soft_mask,
        keeps_transparency=True,
        estimates_foreground=True,
        squash=resize_lanczos,
        may_shrink=True,
        on_device=True,
        mattes_mask=True,
    ),
    "isnet-segment": Preset(
        read_map=isnet_mask,
        profile=Profile(mean=0.5, std=1.0, resampling="bilinear"),
        threshold=0.5,
    ),
    "segmentation-custom": Preset(
        read_map=rembg_mask,
        profile=Profile(mean=0.485, std=1.0, divisor="max", output=0),
        as_rembg=True,
    ),
}
