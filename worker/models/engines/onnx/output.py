"""Which output of an ONNX graph is the saliency map."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

from worker.errors import ModelInvalid
from worker.models.files.profile import Layout

Axis = int | str | None
"""Length of an axis: a number, a symbol's name, or unknown."""

FLOATS: Final = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}


class Output(NamedTuple):
    """An output as shape inference sees it."""

    name: str
    element: int
    shape: tuple[Axis, ...] | None
    """None: not even the rank is known."""

    def __str__(self) -> str:
        axes = ", ".join(str(axis or "?") for axis in self.shape or ())
        return f"{self.name} {'of unknown shape' if self.shape is None else f'({axes})'}"


def choose(model: ModelProto, wanted: str | int | None, *, name: str) -> str:
    """The name of the output that is the map: the one `wanted` by name or index, or else found.

    Found is the first of the largest maps: floating point, of rank 3, or 4 with one channel.
    ISNet's exports put d1 before five more sides and six features, U²-Net's before six sides.

    Raises `ModelInvalid`, naming the outputs, when there is no such output or it is no map.
    """
    outputs = _outputs(model)
    listed = ", ".join(map(str, outputs))
    if isinstance(wanted, int):
        if wanted not in range(len(outputs)):
            raise ModelInvalid(
                f"{name}: its profile asks for output {wanted}, its graph has {len(outputs)}, "
                f"counted from 0: {listed}"
            )
        chosen = outputs[wanted]
    elif wanted is not None:
        named = [output for output in outputs if output.name == wanted]
        if not named:
            raise ModelInvalid(
                f"{name}: its profile asks for the output {wanted!r}, its graph has {listed}"
            )
        chosen = named[0]
    else:
        maps = [output for output in outputs if _is_map(output)]
        if not maps:
            raise ModelInvalid(
                f"{name}: expected an output that is a map of one channel, found {listed}; "
                "if one of them is, name it in the profile's `output`"
            )
        return max(maps, key=lambda output: _area(output.shape)).name
    if chosen.shape is not None and len(chosen.shape) not in (3, 4):
        raise ModelInvalid(
            f"{name}: its profile asks for the output {wanted!r}, which is no map of "
            f"(N, channels, height, width): {chosen}"
        )
    return chosen.name


def channel_axis(shape: Sequence[Axis], layout: Layout) -> int:
    """Where a map of rank 4 has its channels: 1 or 3; as the input has them when both could be."""
    if shape[1] == 1 or shape[3] == 1:
        return 1 if shape[1] == 1 else 3
    return 1 if layout == "nchw" else 3


def _outputs(model: ModelProto) -> list[Output]:
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        inferred = model  # What the file itself declares must do.
    return [
        Output(value.name, value.type.tensor_type.elem_type, shape(value))
        for value in inferred.graph.output
    ]


def shape(value: ValueInfoProto) -> tuple[Axis, ...] | None:
    """The axes of a value, None where not even their number is known."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None
        for axis in tensor.shape.dim
    )


def _is_map(output: Output) -> bool:
    if output.element not in FLOATS:
        return False
    axes = output.shape
    if axes is None or len(axes) == 3:
        return True
    return len(axes) == 4 and (1 in (axes[1], axes[3]) or not isinstance(axes[1], int))


def _area(axes: tuple[Axis, ...] | None) -> int:
    """Pixels of a map, 0 where they are not known."""
    if axes is None:
        return 0
    sides = axes[2:] if len(axes) == 4 and channel_axis(axes, "nchw") == 1 else axes[1:3]
    return math.prod(side if isinstance(side, int) else 0 for side in sides)
