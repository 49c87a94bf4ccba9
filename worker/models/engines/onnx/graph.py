"""Prepare an ONNX graph: prune unused outputs, convert to float32 for a CPU, free the batch axis.

Every change is exact. ISNet's exports have eleven outputs that are never read and a batch of 1, and
a CPU without float16 arithmetic converts float16 weights at every step.
"""

import logging
from collections.abc import Callable
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, inliner

from worker.errors import CutworkError, ModelInvalid
from worker.models.engines.device_error import translate_errors
from worker.models.engines.onnx.batch_axis import free_batch_axis
from worker.models.engines.onnx.full_precision import convert_to_float32
from worker.models.engines.onnx.graph_parts import input_names, nested_graphs
from worker.models.engines.onnx.limits import check_limits
from worker.models.engines.onnx.output import choose_output
from worker.models.engines.onnx.providers import CPU
from worker.models.engines.onnx.random_numbers import check_distributions
from worker.models.engines.onnx.recorded_facts import record_facts
from worker.models.engines.onnx.session import session_options

log = logging.getLogger(__name__)

_DOMAINS: Final = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
"""Operator domains that ONNX Runtime implements."""


def prepare(
    source: Path,
    target: Path,
    *,
    full_precision: bool,
    name: str = "",
    output: str | int | None = None,
    channel: int | None = None,
) -> None:
    """Write the prepared graph of `source` to `target`, with only the saliency map as output.

    `name` is the user's name for the model, for errors. For `output` and `channel`, which are the
    profile's, see `choose_output`. With `full_precision`, the graph is converted to float32.

    A graph that cannot be prepared, or that no longer loads then, is written as it is in the file
    except for its list of outputs, with a line in the log.

    Raises `ModelInvalid` when the file is not an ONNX model, not safe to load, has no such map, or
    does not load on a CPU, which is tried with `full_precision`.
    """
    name = name or source.name
    read = partial(_read, source, output=output, channel=channel, name=name)
    try:
        _write_prepared(read, target, full_precision=full_precision, name=name)
    except (CutworkError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors have no other common base
        log.warning(
            "%s: expected a graph that can be prepared, found %s: %s; trying it as it is",
            *(name, type(error).__name__, _with_name(name, error, source, target)),
        )
        _write_original(read, target, full_precision=full_precision, name=name)


def cannot_load(name: str, error: Exception, *files: Path) -> str:
    """Return a sentence about a model that a library refuses.

    Libraries name the file that they read; in place of `files` it has the model's own name.
    """
    return f"{name} cannot be loaded: {_with_name(name, error, *files)}"


def _with_name(name: str, error: Exception, *files: Path) -> str:
    text = " ".join(str(error).split())
    for path in map(str, files):
        text = text.replace(path, name)
    return text


def _write_prepared(
    read: Callable[[], tuple[ModelProto, str]], target: Path, *, full_precision: bool, name: str
) -> None:
    model, chosen = read()
    prune_to_output(model, chosen)
    if full_precision:
        convert_to_float32(model)
    free_batch_axis(model)
    _save(model, target)
    del model  # ONNX Runtime takes as much memory again.
    if full_precision:
        _check_loads(target, name=name)


def _write_original(
    read: Callable[[], tuple[ModelProto, str]], target: Path, *, full_precision: bool, name: str
) -> None:
    model, chosen = read()
    _keep_output(model, chosen)
    _save(model, target)
    del model
    try:
        if full_precision:
            _check_loads(target, name=name)
    except CutworkError:
        raise
    except Exception as error:
        raise ModelInvalid(cannot_load(name, error, target)) from error


def _read(
    source: Path, *, output: str | int | None, channel: int | None, name: str
) -> tuple[ModelProto, str]:
    """Return the model in a file, safe to load and without functions, and its map's name."""
    try:
        # External data is not loaded: a model is one file, and a path in it could name any file.
        model = onnx.load(str(source), load_external_data=False)
        model = _check_model(model, name=name)
        return model, choose_output(model, output, channel=channel, name=name)
    except (ModelInvalid, OSError, MemoryError):
        raise
    except Exception as error:  # Damaged bytes cause nearly any error: Decode, Value, Key, …
        raise ModelInvalid(
            f"{name} is not an ONNX model: {_with_name(name, error, source)}"
        ) from error


def _check_model(model: ModelProto, *, name: str) -> ModelProto:
    """Return a model with its functions inlined; raise `ModelInvalid` if it is not safe to load."""
    if not model.graph.output:
        raise ModelInvalid(f"{name} is not an ONNX model with an output")
    check_limits(model, name=name)
    model.ClearField("training_info")
    if model.functions:
        model = _inline_functions(model)
    graphs = list(nested_graphs(model.graph))
    check_distributions((node for graph in graphs for node in graph.node), name=name)
    custom = sorted({node.domain for graph in graphs for node in graph.node} - _DOMAINS)
    if custom:
        raise ModelInvalid(
            f"{name} needs operators from a custom library ({', '.join(custom)}), and such "
            "libraries are never loaded; export it with standard ONNX operators only"
        )
    return model


def _inline_functions(model: ModelProto) -> ModelProto:
    """Return a model without functions of its own, in the operator set of its graph.

    ONNX Runtime ignores a function's own operator set. The inliner would keep such a function, or
    convert it, which needs types that most files do not state.
    """
    versions = {item.domain: item.version for item in model.opset_import}
    for function in model.functions:
        for item in function.opset_import:
            item.version = versions.get(item.domain, item.version)
    return inliner.inline_local_functions(model)


def _save(model: ModelProto, target: Path) -> None:
    record_facts(model)
    onnx.save(model, str(target))


def _check_loads(path: Path, *, name: str) -> None:
    """Raise ONNX Runtime's error if it does not load a graph on a CPU."""
    options = session_options("cpu", threads=1)
    options.log_severity_level = 4  # The exception has the same text as the log.
    with translate_errors(f"loading {name}", device="cpu"):
        # `enable_fallback` would try a second time, and print the error.
        onnxruntime.InferenceSession(str(path), options, providers=[CPU], enable_fallback=0)


def prune_to_output(model: ModelProto, output: str) -> None:
    """Remove every node, weight and output that this output does not depend on."""
    graph = model.graph
    _keep_output(model, output)
    producers = {name: index for index, node in enumerate(graph.node) for name in node.output}
    reads = [input_names(node) for node in graph.node]
    needed: dict[int, list[int]] = {}
    pending = [producers[graph.output[0].name]] if graph.output[0].name in producers else []
    while pending:
        index = pending.pop()
        if index not in needed:
            needed[index] = [producers[name] for name in reads[index] if name in producers]
            pending.extend(needed[index])
    try:
        order = list(TopologicalSorter(needed).static_order())
    except CycleError as error:
        raise ModelInvalid("expected an ONNX graph without cycles, found one") from error
    nodes = [NodeProto.FromString(graph.node[index].SerializeToString()) for index in order]
    used = {name for index in order for name in reads[index]} | {graph.output[0].name}
    weights = [
        TensorProto.FromString(tensor.SerializeToString())
        for tensor in graph.initializer
        if tensor.name in used
    ]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)


def _keep_output(model: ModelProto, output: str) -> None:
    """Remove all outputs but one from the graph's list."""
    outputs = model.graph.output
    kept = next(value for value in outputs if value.name == output)
    outputs[0].CopyFrom(kept)
    del outputs[1:]
