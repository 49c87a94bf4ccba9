"""Limits on what an ONNX file may contain, checked before anything is computed from it."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from google.protobuf.message import Message
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto

from worker.errors import ModelInvalid

MAX_NODES: Final = 100_000
"""Nodes of a graph with all calls of its functions replaced by their bodies."""
MAX_NAME: Final = 4096
"""Characters of a name: of a value, a node, an operator, a domain or an axis."""
MAX_MESSAGES: Final = 2_000_000
"""Parts of a file, such as nodes, attributes and tensors; a node has about ten."""
_MAX_INLINED_BYTES: Final = 64 * 2**20
"""Bytes of all bodies that replace calls."""
_MAX_DEPTH: Final = 100
"""Functions that call each other in a chain; `onnx.inliner` has the same limit."""
_FREE_TEXT: Final = {"doc_string", "value"}
"""Fields of texts that name nothing: descriptions, and the values of metadata."""


class _Size(NamedTuple):
    nodes: int
    inlined_bytes: int


def check_limits(model: ModelProto, *, name: str) -> None:
    """Raise `ModelInvalid` where a file has too many nodes, too long a name, or external data.

    External data is looked for in all tensors of the file: a path in it could name any file.
    """
    for message in _messages(model, name=name):
        if isinstance(message, TensorProto) and (
            message.external_data or message.data_location == TensorProto.EXTERNAL
        ):
            raise ModelInvalid(f"{name} keeps weights in other files; export it as one file")
        for field, text in _texts(message):
            if len(text) > MAX_NAME:
                raise ModelInvalid(
                    f"{name}: expected names of at most {MAX_NAME:,} characters, found "
                    f"{field} of {len(text):,} that begins with {text[:40]!r}"
                )
    size = _Expansion(model.functions, name=name).size(model.graph.node, depth=0)
    if size.nodes > MAX_NODES or size.inlined_bytes > _MAX_INLINED_BYTES:
        raise ModelInvalid(
            f"{name}: expected at most {MAX_NODES:,} nodes and {_MAX_INLINED_BYTES:,} bytes of "
            f"functions once every call is replaced by its function, found {size.nodes:,} nodes "
            f"and {size.inlined_bytes:,} bytes; export it without functions that call each other"
        )


class _Expansion:
    """The size of a graph after inlining, computed without inlining."""

    def __init__(self, functions: Iterable[FunctionProto], *, name: str) -> None:
        self._functions = {_key(item, item.name): item for item in functions}
        self._sizes: dict[tuple[str, str, str], _Size] = {}
        self._name = name

    def size(self, nodes: Iterable[NodeProto], *, depth: int) -> _Size:
        """Return the size of nodes with their subgraphs and all that they call."""
        total, inlined = 0, 0
        for node in nodes:
            parts = [
                self.size(graph.node, depth=depth)
                for attribute in node.attribute
                for graph in ([attribute.g] if attribute.HasField("g") else [])
                + [*attribute.graphs]
            ]
            if _key(node, node.op_type) in self._functions:
                parts.append(self._function_size(_key(node, node.op_type), depth=depth + 1))
            total += 1 + sum(part.nodes for part in parts)
            inlined += sum(part.inlined_bytes for part in parts)
        return _Size(total, inlined)

    def _function_size(self, key: tuple[str, str, str], *, depth: int) -> _Size:
        if key not in self._sizes:
            if depth > _MAX_DEPTH:  # A circle of calls also ends here.
                raise ModelInvalid(
                    f"{self._name}: expected functions that call each other at most {_MAX_DEPTH} "
                    f"levels deep, found more, or a function that calls itself: {key[1]!r}"
                )
            function = self._functions[key]
            body = self.size(function.node, depth=depth)
            self._sizes[key] = _Size(body.nodes, body.inlined_bytes + function.ByteSize())
        return self._sizes[key]


def _key(item: FunctionProto | NodeProto, name: str) -> tuple[str, str, str]:
    return ("" if item.domain == "ai.onnx" else item.domain, name, item.overload)


def _messages(root: Message, *, name: str) -> Iterator[Message]:
    """Yield a message and all messages inside it; raise `ModelInvalid` for too many."""
    pending, total = [root], 1
    while pending:
        message = pending.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            inner = [value] if isinstance(value, Message) else value
            total += len(inner)
            if total > MAX_MESSAGES:  # Before objects are made of them.
                raise ModelInvalid(
                    f"{name}: expected at most {MAX_MESSAGES:,} nodes, attributes, tensors and "
                    "other parts, found more"
                )
            pending.extend(inner)


def _texts(message: Message) -> Iterator[tuple[str, str | bytes]]:
    """Yield the texts of a message that name something, each with its field.

    A text that is not UTF-8 is read as bytes.
    """
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING and field.name not in _FREE_TEXT:
            for text in [value] if isinstance(value, str | bytes) else value:
                yield field.name, text
