"""Target: an ONNX file on its way into an engine.

The preparation runs in a process with limits, as in a worker: what crashes or exceeds them there is
refused, and only an unexpected exception is a finding. What is prepared is then loaded; an engine
or a `CutworkError` is a pass, and any other exception, a crash, or too much processor time or
memory is a finding.
"""

import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import atheris

with atheris.instrument_imports(include=["worker"]):
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

    from worker.errors import CutworkError, ModelInvalid
    from worker.models.engines.load import make_loader
    from worker.models.engines.onnx.graph import prepare
    from worker.models.engines.onnx.isolated import answer
    from worker.models.engines.onnx.limits import check_limits
    from worker.models.files.file_cache import FileCache
    from worker.models.files.profile import Profile
    from worker.models.files.store import ModelFile

# Numba compiles no instrumented code.
import worker.models.engines.winograd.engine  # noqa: F401 - once here, not in every child
from tests.system.fuzz.bounded_child import run_bounded

SECONDS = 5
"""Processor time for preparing and loading a model; a seed takes 0.1."""
ADDED_BYTES = 2**30
"""Memory that it may allocate."""

_OPERATORS: Final = ("called", *sorted({schema.name for schema in onnx.defs.get_all_schemas()}))
_ATTRIBUTES: Final = ("to", "axis", "axes", "dtype", "pads", "mode", "value", "output_dtype")
_NUMBERS: Final = (0, 1, 2, 3, 4, 16, 17, 255, 2_048, 65_536, 2**20, 2**31 - 1, 2**40, 2**62)


def fuzz_one(data: bytes) -> None:
    """Check an input; if it passes, prepare and load it in another process."""
    try:
        check_limits(ModelProto.FromString(data), name="model")
    except (DecodeError, ModelInvalid):
        return
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        path.write_bytes(data)
        ended = run_bounded(lambda: _engine(path), seconds=SECONDS, added_bytes=ADDED_BYTES)
        was_prepared = _marker(path).exists()
        if ended.error or (ended.signal and was_prepared):
            raise AssertionError(f"expected an engine or a CutworkError, found {ended}")
        if was_prepared:
            # Again, now that it is known to end: what runs in this process guides the fuzzer.
            prepare(path, path.with_suffix(".again"), full_precision=False)


def _engine(path: Path) -> bool:
    """Return whether a worker loads a file, after the preparation that has a process of its own."""
    for full_precision in (False, True):
        target = _prepared_path(path, full_precision=full_precision)
        if answer(path, target, {"full_precision": full_precision, "name": "model"})["error"]:
            return False
    _marker(path).touch()

    def prepared(source: Path, target: Path, *, full_precision: bool, **_: object) -> None:
        shutil.copy(_prepared_path(source, full_precision=full_precision), target)

    files = FileCache(path.parent)
    load = make_loader(threads=1, file_cache=files, own_engine=True, prepare=prepared)
    with suppress(CutworkError):
        load(ModelFile(name="model", path=path, sha256="model", profile=Profile()), "cpu")
        return True
    return False


def _prepared_path(path: Path, *, full_precision: bool) -> Path:
    return path.with_suffix(".float32" if full_precision else ".as-is")


def _marker(path: Path) -> Path:
    """Return the path of a file that exists once the preparation has ended well."""
    return path.with_suffix(".prepared")


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Return a model with a few changes of its graph, or of its bytes."""
    choice = random.Random(seed)
    if choice.random() < 0.1:
        return bytes(atheris.Mutate(data, max_size))
    try:
        model = ModelProto.FromString(data)
    except DecodeError:
        return bytes(atheris.Mutate(data, max_size))
    for _ in range(choice.choice((1, 1, 2, 4))):
        with suppress(IndexError, ValueError):
            choice.choice(_CHANGES)(model, choice)
    changed = model.SerializeToString()
    return changed if len(changed) <= max_size else data


def _graphs(model: ModelProto) -> Iterator[Any]:
    """Yield what holds nodes: the graph, subgraphs and functions."""
    pending: list[Any] = [model.graph, *model.functions]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                pending += ([attribute.g] if attribute.HasField("g") else []) + [*attribute.graphs]


def _graph(model: ModelProto, choice: random.Random) -> Any:
    return choice.choice(list(_graphs(model)))


def _operator(model: ModelProto, choice: random.Random) -> None:
    node = choice.choice(_graph(model, choice).node)
    node.op_type = choice.choice(_OPERATORS)
    node.domain = choice.choice(("", "", "", "com.microsoft", "ai.onnx.ml", "local"))


def _wire(model: ModelProto, choice: random.Random) -> None:
    """Connect a node to another value."""
    graph = _graph(model, choice)
    names = [name for node in graph.node for name in (*node.input, *node.output)] + [""]
    node = choice.choice(graph.node)
    side = choice.choice((node.input, node.input, node.output))
    if choice.random() < 0.3:
        side.append(choice.choice(names))
    else:
        side[choice.randrange(len(side))] = choice.choice(names)


def _copied_node(model: ModelProto, choice: random.Random) -> None:
    """Copy a node, with new outputs that the next node reads."""
    graph = _graph(model, choice)
    node = NodeProto()
    node.CopyFrom(choice.choice(graph.node))
    for index, name in enumerate(node.output):
        node.output[index] = f"{name}'"
    graph.node.append(node)
    if choice.random() < 0.5:
        choice.choice(graph.node).input[0] = node.output[0]


def _removed_node(model: ModelProto, choice: random.Random) -> None:
    graph = _graph(model, choice)
    del graph.node[choice.randrange(len(graph.node))]


def _attribute(model: ModelProto, choice: random.Random) -> None:
    node = choice.choice(_graph(model, choice).node)
    if not node.attribute or choice.random() < 0.3:
        node.attribute.add(name=choice.choice(_ATTRIBUTES), type=AttributeProto.INT)
    attribute = choice.choice(node.attribute)
    if attribute.ints:
        attribute.ints[choice.randrange(len(attribute.ints))] = _number(choice)
    elif attribute.HasField("t"):
        _change_tensor(attribute.t, choice)
    else:
        attribute.i = choice.choice((*range(24), _number(choice)))
        attribute.type = choice.choice((AttributeProto.INT, attribute.type))


def _tensor(model: ModelProto, choice: random.Random) -> None:
    graph = _graph(model, choice)
    if isinstance(graph, GraphProto):
        sparse = [part for one in graph.sparse_initializer for part in (one.values, one.indices)]
        _change_tensor(choice.choice([*graph.initializer, *sparse]), choice)


def _change_tensor(tensor: TensorProto, choice: random.Random) -> None:
    kind = choice.randrange(4)
    if kind == 0:
        tensor.data_type = choice.randrange(26)
    elif kind == 1 and tensor.dims:
        tensor.dims[choice.randrange(len(tensor.dims))] = _number(choice)
    elif kind == 2:
        tensor.dims.append(_number(choice))
    else:
        numbers = [_number(choice) for _ in range(choice.randrange(1, 5))]
        name = tensor.name
        tensor.CopyFrom(helper.make_tensor(name, TensorProto.INT64, [len(numbers)], numbers))


def _value(model: ModelProto, choice: random.Random) -> None:
    """Change the shape or the type of an input or output."""
    tensor = choice.choice([*model.graph.input, *model.graph.output]).type.tensor_type
    if choice.random() < 0.3:
        tensor.elem_type = choice.randrange(26)
    elif choice.random() < 0.5 and tensor.shape.dim:
        choice.choice(tensor.shape.dim).dim_value = _number(choice)
    else:
        tensor.shape.dim.add(dim_param=choice.choice(("n", "m", "cutwork_batch")))


def _version(model: ModelProto, choice: random.Random) -> None:
    choice.choice(model.opset_import).version = choice.choice((*range(5, 28), _number(choice)))
    model.ir_version = choice.choice((3, 4, 7, 8, 9, 10, 13, 99))


def _function(model: ModelProto, choice: random.Random) -> None:
    """Make a function of the nodes of a graph; functions call themselves and each other."""
    if not any(entry.domain == "local" for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid("local", 1))
    graph = _graph(model, choice)
    name = choice.choice(("called", "also"))
    function = helper.make_function(
        *("local", name, [], [graph.node[-1].output[0]], graph.node, model.opset_import)
    )
    function.node.append(
        helper.make_node(choice.choice(("called", "also")), [], ["more"], domain="local")
    )
    model.functions.append(function)
    outputs = list(choice.choice(model.graph.node).output)
    model.graph.node.append(helper.make_node(name, [], outputs[:1], domain="local"))


def _nested(model: ModelProto, choice: random.Random) -> None:
    """Move the graph into a branch of itself."""
    inner = GraphProto()
    inner.CopyFrom(model.graph)
    node = choice.choice(model.graph.node)
    for name in ("then_branch", "else_branch")[: choice.randrange(1, 3)]:
        node.attribute.add(name=name, type=AttributeProto.GRAPH).g.CopyFrom(inner)
    node.op_type = choice.choice(("If", "Loop", "Scan", "Relu"))


def _number(choice: random.Random) -> int:
    return choice.choice(_NUMBERS) * choice.choice((1, 1, 1, -1))


_CHANGES: Final[tuple[Callable[[ModelProto, random.Random], None], ...]] = (
    *(_operator, _operator, _wire, _wire, _copied_node, _removed_node, _attribute, _attribute),
    *(_tensor, _tensor, _value, _version, _function, _nested),
)


if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzz_one, custom_mutator=mutate)
    atheris.Fuzz()
