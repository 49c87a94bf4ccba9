"""Choose the output of an ONNX graph that is the saliency map."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

from producer.contract.untrusted_text import shorten
from worker.errors import ModelInvalid

if TYPE_CHECKING:
    from worker.models.files.profile import Layout

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
        return f"{shorten(self.name, _LONGEST_NAME)} {shape}"


def choose_output(model: ModelProto, requested: str | int | None, *, name: str) -> str:
    """Return the name of the saliency map: the output `requested` by name or index, or a guess.

    The guess is the first of the largest maps: floating point, of rank 3, or 4 with one channel.
    ISNet's exports put d1 before five more side outputs and six features, U²-Net's before six side
    outputs.

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
        maps = [output for output in outputs if _is_saliency_map(output)]
        if not maps:
            raise ModelInvalid(
                f"{name}: expected an output that is a map of one channel, found {output_list}; "
                "if one of them is, name it in the profile's `output`"
            )
        return max(maps, key=lambda output: _pixel_count(output.shape)).name
    if chosen.shape is not None and len(chosen.shape) not in (3, 4):
        raise ModelInvalid(
            f"{name}: its profile asks for the output {requested!r}, which is not a map of "
            f"(N, channels, height, width): {chosen}"
        )
    return chosen.name


def channel_axis(shape: Sequence[Axis], layout: "Layout") -> int:
    """Return the axis of channels of a map of rank 4, 1 or 3; if both are possible, the input's."""
    if shape[1] == 1 or shape[3] == 1:
        return 1 if shape[1] == 1 else 3
    return 1 if layout == "nchw" else 3


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


def _pixel_count(axes: tuple[Axis, ...] | None) -> int:
    """Return the number of pixels of a map, 0 where it is unknown."""
    if axes is None:
        return 0
    sides = axes[2:] if len(axes) == 4 and channel_axis(axes, "nchw") == 1 else axes[1:3]
    return math.prod(side if isinstance(side, int) else 0 for side in sides)
