"""Every command of `cutwork` and of `python -m worker`, with its arguments and options."""

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from deploy.reference.markdown import code, table
from producer.cli.main import app
from producer.contract.options import Options
from worker.cli.main import app as worker_app


def commands() -> str:
    """Return a section for each program and a subsection for each of its commands."""
    parts = []
    for program, group in (("cutwork", app), ("python -m worker", worker_app)):
        parts.append(f"## `{program}`")
        parts += [_section(f"{program} {name}", command) for name, command in leaves(group)]
    return "\n\n".join(parts)


def leaves(group: typer.Typer) -> Iterator[tuple[str, Any]]:
    """Yield every command of a program by its words, such as `models fetch`."""
    return _leaves(get_command(group))


def _leaves(group: Any) -> Iterator[tuple[str, Any]]:
    # Typer has a copy of click within it, whose classes are private.
    for name, command in getattr(group, "commands", {}).items():
        yield name, command
        for inner, leaf in _leaves(command):
            yield f"{name} {inner}", leaf


def _section(name: str, command: Any) -> str:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option"]
    is_image_command = any(item.name in Options.model_fields for item in options)
    rows = [
        (code(item.metavar), item.help or "", code(item.default) if item.default else "")
        for item in arguments
    ]
    rows += [
        (_flag(item), (item.help or "") + _range(item), _default(item))
        for item in options
        if item.name not in Options.model_fields
    ]
    parts = [f"### `{name}`", inspect.cleandoc(command.help)]
    if rows:
        parts.append(table(("argument or option", "meaning", "default"), rows))
    if is_image_command:
        parts.append("This command also takes all [options](options.md).")
    return "\n\n".join(parts)


def _flag(option: Any) -> str:
    value = "" if option.is_flag else f" {option.metavar or 'VALUE'}"
    return code(option.opts[0] + value)


def _default(option: Any) -> str:
    if option.is_flag:
        return "on" if option.default else "off"
    return "none" if option.default is None else code(option.default)


def _range(option: Any) -> str:
    limits = (("≥", option.min), ("≤", option.max))
    words = ", ".join(f"{sign} {limit:,}" for sign, limit in limits if limit is not None)
    return f" {words.capitalize()}." if words else ""
