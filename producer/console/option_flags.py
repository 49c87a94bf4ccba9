"""The contract's options as command-line options, the same on every command that takes them."""

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
"""Options of one number or several, written with commas."""


def option_name(field: str) -> str:
    """`alpha_matting` on the command line is `--alpha-matting`."""
    return "--" + field.replace("_", "-")


def to_flags(options: Options) -> list[str]:
    """Options as they are typed; what is as by default is left out."""
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
    """Give a command every field of `Options` as an option; it receives them as `options`.

    Values are checked by the contract itself, so a wrong one is refused with its sentence.
    """

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in Options.model_fields}
        command(options=_options(given), **arguments)

    signature = inspect.signature(command)
    own = [item for item in signature.parameters.values() if item.name != "options"]
    # What `inspect.signature`, and so Typer, reads; the type of a function does not declare it.
    wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=own + [_parameter(name) for name in Options.model_fields]
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
        return int  # Typer's choices are texts; the contract refuses other numbers.
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        members = [item for item in get_args(annotation) if item is not type(None)]
        kind = get_args(members[0])[0] if get_origin(members[0]) is Annotated else members[0]
        return kind | None if len(members) == 1 and kind in (bool, int, float) else str | None
    if get_origin(annotation) is Literal or annotation in (bool, int, str):
        return annotation
    return str | None


def _options(given: dict[str, Any]) -> Options:
    values = {
        name: _numbers(name, value) if name in _NUMBERS and value is not None else value
        for name, value in given.items()
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
