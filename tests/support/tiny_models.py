"""Minimal ONNX models, and a loader."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from worker.models.engines.onnx.engine import OnnxEngine
from worker.models.engines.onnx.graph import prepare
from worker.models.engines.onnx.load import load_onnx_engine
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile

Axes = Sequence[int | str | None] | None


def value(name: str, axes: Axes, dtype: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, axes)


def saved(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: Sequence[TensorProto] = (),
    *,
    opset: int = 17,
) -> Path:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def channel_mean(
    path: Path, *, axes: Axes = (1, 3, 32, 32), axis: int = 1, dtype: int = TensorProto.FLOAT
) -> Path:
    """Write a model whose saliency map is the mean of the three channels along `axis`."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[axis], keepdims=1)
    out = None if axes is None else [1 if n == axis else side for n, side in enumerate(axes)]
    return saved(path, [node], [value("x", axes, dtype)], [value("y", out, dtype)])


def endless(path: Path) -> Path:
    """Write a model that does not return within centuries."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Abs", ["a"], ["b"])],
        "body",
        [
            value("trip", (), TensorProto.INT64),
            value("go", (), TensorProto.BOOL),
            value("a", None),
        ],
        [value("on", (), TensorProto.BOOL), value("b", None)],
    )
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Loop", ["trips", "", "mean"], ["y"], body=body),
    ]
    trips = helper.make_tensor("trips", TensorProto.INT64, [], [2**62])
    return saved(path, nodes, [value("x", (1, 3, 8, 8))], [value("y", (1, 1, 8, 8))], [trips])


def loaded(path: Path, *, profile: Profile | None = None, max_batch: int = 1) -> OnnxEngine:
    """Load a model on the CPU; its prepared graph is stored in a folder next to it.

    It is prepared in this process, which saves the start of another one.
    """
    file = ModelFile(name=path.name, path=path, sha256=path.stem, profile=profile or Profile())
    return load_onnx_engine(
        file,
        device="cpu",
        threads=1,
        max_batch=max_batch,
        file_cache=FileCache(path.parent),
        prepare=prepare,
    )
