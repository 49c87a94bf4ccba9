"""Find the foreground's channel in a model's output."""

from collections.abc import Sequence
from typing import NamedTuple

from worker.errors import ModelInvalid
from worker.models.engines.onnx.output import Axis, single_channel_axis
from worker.models.files.profile import Layout, Profile


class MapChannel(NamedTuple):
    """How to take the saliency maps (N, h, w) out of an output."""

    axis: int | None
    """The axis of channels; None: the output has none."""
    number: int
    """The foreground's channel, counted from 0."""
    softmax: bool
    """Whether a softmax over the channels comes first."""


def find_channel(
    shape: Sequence[int],
    *,
    declared: Sequence[Axis],
    images: Sequence[int],
    profile: Profile,
    name: str,
) -> MapChannel:
    """Return the foreground's channel in an output of this shape.

    `declared` is the output's shape as the graph states it, `images` the shape of the model's
    input. `name` begins the errors; it names the model and its output.

    Raises `ModelInvalid` for an output that is not a batch of maps, for one of several channels
    when the profile does not say which is the foreground, and for a channel that does not exist.
    """
    if len(shape) not in (3, 4) or shape[0] != images[0]:
        raise ModelInvalid(
            f"{name}: expected an output of ({images[0]}, channels, height, width), found "
            f"{tuple(shape)}, which is not a saliency map"
        )
    if len(shape) == 3:
        _check_index(1, shape, profile, name=name)
        return MapChannel(None, 0, softmax=False)
    axis = single_channel_axis(declared)
    if axis is None:
        axis = channel_axis(shape, layout=profile.layout, images=images)
    _check_index(shape[axis], shape, profile, name=name)
    return MapChannel(axis, profile.channel or 0, softmax=profile.softmax)


def declared_channels(
    declared: Sequence[Axis], *, images: Sequence[Axis], profile: Profile, name: str
) -> int | None:
    """Return the number of an output's channels as the graph states it, or None where it does not.

    Raises `ModelInvalid` where `find_channel` is certain to raise it.
    """
    if len(declared) != 4:
        return None
    channels = declared[channel_axis(declared, layout=profile.layout, images=images)]
    if not isinstance(channels, int):
        return None
    _check_index(channels, declared, profile, name=name)
    return channels


def channel_axis(shape: Sequence[Axis], *, layout: Layout, images: Sequence[Axis]) -> int:
    """Return the axis of channels of an output with four axes: 1 or 3.

    It is the one with a single channel, or else the one without which the output has the aspect
    ratio of the model's input of the shape `images`. If that is true of both, it is the input's.
    """
    axis = single_channel_axis(shape)
    if axis is not None:
        return axis
    height, width = images[2:4] if layout == "nchw" else images[1:3]
    fitting = [
        axis
        for axis, sides in ((1, shape[2:4]), (3, shape[1:3]))
        if _is_scaled(sides, (height, width))
    ]
    if len(fitting) == 1:
        return fitting[0]
    return 1 if layout == "nchw" else 3


def _is_scaled(sides: Sequence[Axis], image: Sequence[Axis]) -> bool:
    """Return whether two sides are an image's, scaled and rounded; False where one is unknown."""
    numbers = [side for side in (*sides, *image) if isinstance(side, int)]
    if len(numbers) != 4:
        return False
    height, width, image_height, image_width = numbers
    return abs(height * image_width - width * image_height) <= max(image_height, image_width)


def _check_index(channels: int, shape: Sequence[Axis], profile: Profile, *, name: str) -> None:
    """Raise `ModelInvalid` unless the profile names one of this many channels, or there is one."""
    if profile.channel is None and channels != 1:
        raise ModelInvalid(
            f"{name}: expected a saliency map of one channel, found {channels} in {list(shape)}; "
            "say in the profile's `channel` which of them is the foreground, counted from 0"
        )
    if profile.channel is not None and profile.channel >= channels:
        raise ModelInvalid(
            f"{name}: its profile asks for channel {profile.channel}, counted from 0, found "
            f"{channels} in {list(shape)}"
        )
