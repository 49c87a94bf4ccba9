"""The contract's options as command-line options, identical for all commands that have them."""

import functools
import inspect
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import typer
from pydantic import ValidationError

from producer.contract.options import Options
from producer.contract.validation_errors import explain

_NUMBERS: Final = ("mean", "std", "size")
"""Options of one or more numbers, which are separated by commas."""


def option_name(field: str) -> str:
    """Return the command-line option of a field: `--alpha-matting` for `alpha_matting`."""
    return "--" + field.replace("_", "-")


def to_flags(options: Options) -> list[str]:
    """Return options as command-line arguments, without those that have their default value."""
    flags: list[str] = []
    for name, value in options.model_dump(mode="json", exclude_defaults=True).items():
        flag = option_name(name)
        if isinstance(value, bool):
            flags.append(flag if value else f"--no-{flag[2:]}")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            flags += [flag, text]
    return flags


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all fields of `Options` as options; it receives them as `options`.

    The contract validates the values, so the command line shows the contract's errors.
    """

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> None:
        values = {name: arguments.pop(name) for name in Options.model_fields}
        command(options=_options(values), **arguments)

    signature = inspect.signature(command)
    own_parameters = [item for item in signature.parameters.values() if item.name != "options"]
    # Typer reads it through `inspect.signature`; the type of a function does not declare it.
    wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=own_parameters + [_parameter(name) for name in Options.model_fields]
    )
    return wrapper


def _parameter(name: str) -> inspect.Parameter:
    field = Options.model_fields[name]
    flag = option_name(name)
    if bool in (field.annotation, *get_args(field.annotation)):
        flag = f"{flag}/--no-{flag[2:]}"
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=Annotated[
            _command_line_type(name, field.annotation),
            typer.Option(flag, help=field.description, rich_help_panel="How to cut out"),
        ],
    )


def _command_line_type(name: str, annotation: Any) -> Any:
    if name in _NUMBERS:
        return str | None
    kinds = {type(item) for item in get_args(annotation)}
    if get_origin(annotation) is Literal and kinds == {int}:
        return int  # Typer's choices are strings; the contract refuses other numbers.
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        members = [item for item in get_args(annotation) if item is not type(None)]
        kind = get_args(members[0])[0] if get_origin(members[0]) is Annotated else members[0]
        return kind | None if len(members) == 1 and kind in (bool, int, float) else str | None
    if get_origin(annotation) is Literal or annotation in (bool, int, str):
        return annotation
    return str | None


def _options(values: dict[str, Any]) -> Options:
    values = {
        name: _numbers(name, value) if name in _NUMBERS and value is not None else value
        for name, value in values.items()
    }
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        raise typer.BadParameter(explain(error, name=option_name)) from error


def _numbers(name: str, text: str) -> Any:
    number = int if name == "size" else float
    try:
        numbers = [number(part) for part in text.replace("x", ",").split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"{option_name(name)}: expected numbers separated by commas, found {text!r}"
        ) from error
    return numbers[0] if len(numbers) == 1 else numbers
