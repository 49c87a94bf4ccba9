"""Refuse random distributions for which ONNX Runtime ends the process."""

from collections.abc import Iterable

from onnx import NodeProto

from worker.errors import ModelInvalid


def check_distributions(nodes: Iterable[NodeProto], *, name: str) -> None:
    """Raise `ModelInvalid` for a normal distribution without a width, or an inverted uniform one.

    The C++ library aborts on them, in the middle of an inference. `name` is the model's.
    """
    for node in nodes:
        if node.op_type in ("RandomNormal", "RandomNormalLike"):
            scale = _number(node, "scale", default=1.0)
            if not scale > 0:
                raise ModelInvalid(f"{name}: expected {node.op_type} of scale > 0, found {scale}")
        elif node.op_type in ("RandomUniform", "RandomUniformLike"):
            low, high = _number(node, "low", default=0.0), _number(node, "high", default=1.0)
            if not low <= high:
                raise ModelInvalid(
                    f"{name}: expected {node.op_type} of low ≤ high, found {low} and {high}"
                )


def _number(node: NodeProto, name: str, *, default: float) -> float:
    return next((item.f for item in node.attribute if item.name == name), default)
