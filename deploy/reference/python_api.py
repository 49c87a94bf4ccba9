"""The public classes and exceptions of `producer`, from their source and docstrings."""

import ast
import inspect
import re
from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel

import producer
from deploy.reference.markdown import code, table
from producer import Client, Handle, ImageRef, Job, Outcome
from producer.contract.outcome import OutputFacts, RunFacts, SourceFacts

_LONGEST_SIGNATURE: Final = 80
Function = ast.FunctionDef | ast.AsyncFunctionDef


def classes() -> str:
    """Return a section for each class, with a subsection for each public method."""
    return "\n\n".join(map(_class, (Client, Handle, Job, ImageRef)))


def exceptions() -> str:
    """Return the tree of exceptions with the built-in base of each, and a subsection for each."""
    exported = [getattr(producer, name) for name in producer.__all__]
    errors = [item for item in exported if issubclass(item, Exception)]
    leaves = [item for item in errors if item is not producer.CutworkError]
    lines = ["Exception", "└── CutworkError"]
    for item in leaves:
        branch = "└──" if item is leaves[-1] else "├──"
        lines.append(f"    {branch} {item.__name__} (a {item.__bases__[-1].__name__})")
    tree = "\n".join(lines)
    sections = [
        f"### `{item.__name__}`\n\n{inspect.getdoc(item)}\n\nCode: `{item.code}`."
        for item in [producer.CutworkError, *leaves]
    ]
    return "\n\n".join([f"```text\n{tree}\n```", *sections])


def outcome() -> str:
    """Return the tables of an outcome's fields and of the records within it."""
    parts = [_fields(Outcome)]
    for name, model in (("source", SourceFacts), ("outputs", OutputFacts), ("run", RunFacts)):
        about = inspect.cleandoc(model.__doc__ or "")
        parts.append(f"## {model.__name__}: the fields of `{name}`\n\n{about}\n\n{_fields(model)}")
    return "\n\n".join(parts).replace("of `outputs`", "of `image` and `mask`")


def _class(item: type) -> str:
    parts = [f"## {item.__name__}", inspect.cleandoc(item.__doc__ or "")]
    if issubclass(item, BaseModel):
        parts.append(_fields(item))
    for function in _functions(item):
        is_property = "property" in map(ast.unparse, function.decorator_list)
        name = item.__name__ if function.name == "__init__" else f"{item.__name__}.{function.name}"
        parts.append(f"### `{name}`" if is_property else f"### `{name}()`")
        parts.append(f"```python\n{_signature(function, is_property=is_property)}\n```")
        parts.append(ast.get_docstring(function) or "")
    return "\n\n".join(part for part in parts if part)


def _functions(item: type) -> Iterator[Function]:
    """Yield the public methods, and the constructor where it has a docstring."""
    for node in _source(item).body:
        if isinstance(node, Function) and ast.get_docstring(node):
            is_validator = any("validator" in ast.unparse(mark) for mark in node.decorator_list)
            if node.name == "__init__" or not (node.name.startswith("_") or is_validator):
                yield node


def _source(item: type) -> ast.ClassDef:
    (node,) = ast.parse(inspect.getsource(item)).body
    assert isinstance(node, ast.ClassDef)  # noqa: S101 - the source of a class is one
    return node


def _fields(model: type[BaseModel]) -> str:
    """Return the table of a model's fields with the string literals below them."""
    rows = []
    body = _source(model).body
    for node, following in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.AnnAssign):
            meaning = ast.literal_eval(following.value) if isinstance(following, ast.Expr) else ""
            kind = _type(node.annotation)
            rows.append((code(ast.unparse(node.target)), code(kind), meaning))
    return table(("field", "type", "meaning"), rows)


def _type(annotation: ast.expr) -> str:
    """Return an annotation as callers see it, without constraints and aliases."""
    text = re.sub(r"Annotated\[(\w+), .*\)\]", r"\1", ast.unparse(annotation).replace("'", '"'))
    return re.sub(r"\bRef\b", "ImageRef", re.sub(r"\bJobId\b", "str", text))


def _signature(function: Function, *, is_property: bool) -> str:
    """Return a function's header, with one parameter per line if it is long."""
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    if is_property:
        return f"{function.name}{returns.replace(' ->', ':')}"
    arguments = function.args
    own = [_parameter(item) for item in arguments.args if item.arg not in ("self", "cls")]
    for number, value in enumerate(reversed(arguments.defaults), 1):
        own[-number] += f" = {ast.unparse(value)}"
    keywords = [
        _parameter(item) + (f" = {ast.unparse(value)}" if value else "")
        for item, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    parameters = [*own, *(["*"] if keywords else []), *keywords]
    kind = "async def" if isinstance(function, ast.AsyncFunctionDef) else "def"
    line = f"{kind} {function.name}({', '.join(parameters)}){returns}: ..."
    if len(line) <= _LONGEST_SIGNATURE:
        return line
    return f"{kind} {function.name}(\n    " + ",\n    ".join(parameters) + f",\n){returns}: ..."


def _parameter(item: ast.arg) -> str:
    return item.arg + (f": {ast.unparse(item.annotation)}" if item.annotation else "")
