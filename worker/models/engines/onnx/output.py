"""Choose the output of an ONNX graph that is the saliency map."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

from producer.contract.untrusted_text import shorten
from worker.errors import ModelInvalid

Axis = int | str | None
"""Length of an axis: a number, the name of a symbolic dimension, or unknown."""

FLOATS: Final = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
_LONGEST_NAME: Final = 80
"""Characters of a name that a sentence shows."""


class Output(NamedTuple):
    """An output as shape inference sees it."""

    name: str
    element: int
    shape: tuple[Axis, ...] | None
    """None: the rank is unknown."""

    def __str__(self) -> str:
        axes = ", ".join(shorten(str(axis or "?"), _LONGEST_NAME) for axis in self.shape or ())
        shape = "of unknown shape" if self.shape is None else f"({axes})"
        # Maps are floating point; another type is why an output is not taken for one.
        known = {*TensorProto.DataType.values()} - FLOATS - {TensorProto.UNDEFINED}
        element = (
            f"{TensorProto.DataType.Name(self.element).lower()} " if self.element in known else ""
        )
        return f"{shorten(self.name, _LONGEST_NAME)} {element}{shape}"


def choose_output(
    model: ModelProto, requested: str | int | None, *, name: str, channel: int | None = None
) -> str:
    """Return the name of the saliency map: the output `requested` by name or index, or a guess.

    The guess is the first of the largest maps: floating point, of rank 3, or 4 with one channel.
    ISNet's exports put d1 before five more side outputs and six features, U²-Net's before six side
    outputs. When the profile names a `channel`, the guess is the first of the largest outputs of
    several channels; for channel 0, only if there is no map of one.

    Raises `ModelInvalid` when there is no such output or it cannot be a saliency map.
    """
    outputs = _infer_outputs(model)
    output_list = ", ".join(map(str, outputs))
    if isinstance(requested, int):
        if requested not in range(len(outputs)):
            raise ModelInvalid(
                f"{name}: its profile asks for output {requested}, its graph has {len(outputs)}, "
                f"counted from 0: {output_list}"
            )
        chosen = outputs[requested]
    elif requested is not None:
        named = [output for output in outputs if output.name == requested]
        if not named:
            raise ModelInvalid(
                f"{name}: its profile asks for the output {requested!r}, its graph has "
                f"{output_list}"
            )
        chosen = named[0]
    else:
        maps = [] if channel else [output for output in outputs if _is_saliency_map(output)]
        if not maps and channel is not None:
            maps = [output for output in outputs if _has_channels(output)]
        if not maps:
            expected = "of one channel" if channel is None else f"with the channel {channel}"
            raise ModelInvalid(
                f"{name}: expected an output that is a map {expected}, found {output_list}; "
                "name the map's output in the profile's `output`, and of several channels the "
                "foreground's, counted from 0, in `channel`"
            )
        return max(maps, key=lambda output: _pixel_count(output.shape)).name
    if chosen.shape is not None and len(chosen.shape) not in (3, 4):
        raise ModelInvalid(
            f"{name}: its profile asks for the output {requested!r}, which is not a map of "
            f"(N, channels, height, width): {chosen}"
        )
    return chosen.name


def _infer_outputs(model: ModelProto) -> list[Output]:
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        inferred = model  # Use the shapes that the file itself declares.
    return [
        Output(value.name, value.type.tensor_type.elem_type, shape_of(value))
        for value in inferred.graph.output
    ]


def shape_of(value: ValueInfoProto) -> tuple[Axis, ...] | None:
    """Return the axes of a value, or None where their number is unknown."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None
        for axis in tensor.shape.dim
    )


def _is_saliency_map(output: Output) -> bool:
    if output.element not in FLOATS:
        return False
    axes = output.shape
    if axes is None or len(axes) == 3:
        return True
    return len(axes) == 4 and (1 in (axes[1], axes[3]) or not isinstance(axes[1], int))


def _has_channels(output: Output) -> bool:
    """Return whether an output may be a map of several channels."""
    axes = output.shape
    if output.element not in FLOATS or (axes is not None and len(axes) != 4):
        return False
    return axes is None or single_channel_axis(axes) is None


def single_channel_axis(shape: Sequence[Axis]) -> int | None:
    """Return which of the axes 1 and 3 has a single channel in a shape of four axes, if any."""
    if len(shape) != 4:
        return None
    return next((axis for axis in (1, 3) if shape[axis] == 1), None)


def _pixel_count(axes: tuple[Axis, ...] | None) -> int:
    """Return the number of pixels of a map, 0 where it is unknown."""
    if axes is None:
        return 0
    has_channels_first = len(axes) == 4 and single_channel_axis(axes) != 3
    sides = axes[2:] if has_channels_first else axes[1:3]
    return math.prod(side if isinstance(side, int) else 0 for side in sides)
