"""The options of a job and the variables of producer and worker."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from deploy.reference.markdown import code, table
from producer.config.s3_settings import S3Settings
from producer.config.settings import ProducerSettings
from producer.console.option_flags import option_name
from producer.contract.options import Options
from worker.config.settings import ModelSettings, WorkerSettings

_CELERYCONFIG: Final = Path(__file__).parents[2] / "celeryconfig.py"
CELERY_VARIABLES: Final = {
    "CUTWORK_CONCURRENCY": "Jobs that one worker process works on at a time (threads).",
    "CUTWORK_VISIBILITY_TIMEOUT": "Seconds after which the jobs of a silent worker are requeued.",
    "CUTWORK_BROKER_TIMEOUT": "Seconds within which every call of a client ends, and without an "
    "answer after which a broker connection is dead.",
    "CUTWORK_CLASSES": "Classes of jobs that have queues of their own: some of `bulk`, `gpu`, "
    "`large`.",
    "CUTWORK_TENANTS": "Services that have queues of their own: names of a-z, 0-9 and -.",
}
"""The variables that `celeryconfig.py` alone reads; it has no place for a description."""
_SIGNS: Final = {"ge": "≥", "gt": ">", "le": "≤"}


def options() -> str:
    """Return the table of a job's options."""
    rows = (
        (code(option_name(name)), field.description or "", default(field), accepted(field))
        for name, field in Options.model_fields.items()
    )
    return table(("option", "meaning", "default", "values"), rows)


class _Variable(NamedTuple):
    name: str
    meaning: str
    default: str
    values: str


def shared_variables() -> str:
    """Return the table of the variables that producers and workers read."""
    fields = ProducerSettings.model_fields | S3Settings.model_fields
    return _table([*_settings_variables(lambda name: name in fields), *_celery_variables()])


def model_variables() -> str:
    """Return the table of the variables that workers and `python -m worker` read."""
    return _table(_settings_variables(lambda name: name in ModelSettings.model_fields))


def worker_variables() -> str:
    """Return the table of the variables that only workers read."""
    others = ProducerSettings.model_fields | S3Settings.model_fields | ModelSettings.model_fields
    return _table(_settings_variables(lambda name: name not in others))


def _table(variables: Iterable[_Variable]) -> str:
    return table(("variable", "meaning", "default", "values"), variables)


def _settings_variables(is_wanted: Callable[[str], bool]) -> Iterator[_Variable]:
    for name, field in WorkerSettings.model_fields.items():
        if is_wanted(name):
            values = ", ".join(filter(None, (_kind(field.annotation), accepted(field))))
            yield _Variable(
                code(f"CUTWORK_{name.upper()}"), field.description or "", default(field), values
            )


def _celery_variables() -> Iterator[_Variable]:
    numbers = {
        name: (code(default), f"integer, ≥ 1, ≤ {int(limit):,}")
        for name, default, limit in re.findall(
            r'"(CUTWORK_\w+)", (\d+), \w+=([\d_]+)', _CELERYCONFIG.read_text()
        )
    }
    for name, meaning in CELERY_VARIABLES.items():
        yield _Variable(code(name), meaning, *numbers.get(name, ("none", "names")))


def default(field: FieldInfo) -> str:
    """Return a field's default as a cell."""
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "per-user cache"
    if isinstance(field.default, bool):
        return "on" if field.default else "off"
    return "none" if field.default in (None, ()) else code(field.default)


def accepted(field: FieldInfo) -> str:
    """Return the choices or the range of a field as a cell, where its annotation has them."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(code, get_args(field.annotation)))
    constraints = [*field.metadata, *_nested(field.annotation)]
    limits = [
        f"{sign} {getattr(item, name):,}".removesuffix(".0")
        for item in constraints
        for name, sign in _SIGNS.items()
        if hasattr(item, name)
    ]
    return ", ".join(dict.fromkeys(limits))


def _nested(annotation: Any) -> Iterator[Any]:
    """Yield the constraints of `Annotated[int, Field(…)] | None`."""
    for member in get_args(annotation):
        for item in getattr(member, "__metadata__", ()):
            yield from item.metadata if isinstance(item, FieldInfo) else (item,)


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is tuple:
        return "names"
    if get_origin(annotation) is Literal:
        return ""
    members = [item for item in get_args(annotation) or (annotation,) if item is not type(None)]
    names = {int: "integer", float: "number", bool: "boolean", Path: "path"}
    return names.get(members[0], "text")
