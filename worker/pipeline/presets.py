"""The presets as data: `default`, and the two systems that Cutwork reproduces.

A preset is a starting point; every option applies on top of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from producer.contract.options import Preset as Name
from worker.imaging.libvips import resize_lanczos
from worker.imaging.masks import Depth, Pixels, SaliencyMap, Size, isnet_mask, rembg_mask, soft_mask
from worker.models.files.profile import Profile

LARGEST_ON_DEVICE: Final = 50_000_000
"""Pixels of a picture that is uploaded: at the peak each takes some 27 bytes of device memory."""


class MapToMask(Protocol):
    """Makes a mask of the picture's size from a saliency map."""

    def __call__(
        self, saliency: SaliencyMap, size: Size, *, stretched: bool, depth: Depth
    ) -> Pixels:
        """See `worker.imaging.masks`."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A set of preprocessing and postprocessing steps."""

    map_to_mask: MapToMask
    profile: Profile | None = None
    """How to feed every model; None leaves it to the model's own profile."""
    threshold: float | None = None
    """The threshold unless the job sets one; None keeps the soft mask."""
    keeps_transparency: bool = False
    """Whether the cut-out and the mask keep the source's own alpha."""
    estimates_foreground: bool = False
    """Whether soft edges get the subject's own colour unless the job decides."""
    matches_rembg: bool = False
    """Whether colours are rembg's bit by bit: a plain cut-out is composited with transparent black,
    which darkens its edges, and estimated colours are truncated, also inside the subject."""
    resize: Callable[[NDArray[np.uint8], Size], NDArray[np.uint8]] | None = None
    """LANCZOS for the model's input; None is Pillow's, as in rembg."""
    may_shrink: bool = False
    """Whether a picture that only the model sees may be decoded smaller."""
    runs_on_device: bool = False
    """Whether `worker.models.engines.segmenter` implements this preset's steps."""
    mattes_mask: bool = False
    """Whether matting changes the mask as well as the cut-out's alpha."""
    erode_size: int | str = 10
    """The erosion of matting's trimap unless the job sets one: pixels, or a percentage."""

    def profile_for(self, profile: Profile) -> Profile:
        """Return the profile to feed a model with; its output is read as its own `profile` says.

        A preset may choose an output and a channel where the model's profile does not.
        """
        if self.profile is None:
            return profile
        return self.profile.model_copy(
            update={
                "layout": profile.layout,
                "channels": profile.channels,
                "output": self.profile.output if profile.output is None else profile.output,
                "channel": self.profile.channel if profile.channel is None else profile.channel,
                "sigmoid": profile.sigmoid,
                "softmax": profile.softmax,
                "range": profile.range,
                "batch": profile.batch,
            }
        )


def fits_device(preset: Preset, profile: Profile, pixels: Pixels) -> bool:
    """Return whether a device segmenter makes the same mask of (H, W, 3) pixels as the host.

    They do not implement every way to feed a model, nor 16 bits per channel, and a very large
    picture would take the device's memory from the network.
    """
    return (
        preset.runs_on_device
        and profile.divisor == "255"
        and profile.resampling == "lanczos"
        and profile.layout == "nchw"
        and pixels.dtype == np.uint8
        and pixels.shape[0] * pixels.shape[1] <= LARGEST_ON_DEVICE
    )


PRESETS: Final[dict[Name, Preset]] = {
    "default": Preset(
        map_to_mask=soft_mask,
        keeps_transparency=True,
        estimates_foreground=True,
        resize=resize_lanczos,
        may_shrink=True,
        runs_on_device=True,
        mattes_mask=True,
        erode_size="1%",
    ),
    "isnet-segment": Preset(
        map_to_mask=isnet_mask,
        profile=Profile(mean=0.5, std=1.0, resampling="bilinear"),
        threshold=0.5,
    ),
    "segmentation-custom": Preset(
        map_to_mask=rembg_mask,
        profile=Profile(mean=0.485, std=1.0, divisor="max", output=0, channel=0),
        matches_rembg=True,
    ),
}
