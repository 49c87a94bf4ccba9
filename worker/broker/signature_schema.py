"""The schema of Celery's signatures: the tasks that a message names to be sent after its own.

Celery builds and sends them after the job, where an error would come too late. They are therefore
checked whole before it: chains, chords, `link` and `link_error`, at any depth.

Source: https://docs.celeryq.dev/en/stable/userguide/canvas.html
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from producer.contract.validation_errors import explain

Name = Annotated[str, Field(min_length=1, max_length=255)]
_MAX_DEPTH: Final = 100
"""Celery recurses with several frames per level; a chain is one level, however long."""


def _moment(value: object) -> object:
    """Return the time in kombu's typed JSON, or in plain JSON."""
    if isinstance(value, dict) and value.keys() == {"__type__", "__value__"}:
        value = value["__value__"] if value["__type__"] == "datetime" else value
    if isinstance(value, str) and len(value) < 64:
        value = datetime.fromisoformat(value)
    return value


Moment = Annotated[datetime, BeforeValidator(_moment)]
_Seconds = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]


_POSITIONS: Final = frozenset({"self", "name", "args", "kwargs"})
"""Parameters that Celery passes by their position; as options they would be given twice."""


class _Options(BaseModel):
    """What `apply_async` takes and can be written as JSON."""

    model_config = ConfigDict(strict=True, extra="allow")

    task_id: Name | None = None
    root_id: Name | None = None
    parent_id: Name | None = None
    group_id: Name | None = None
    group_index: int | None = None
    queue: Name | None = None
    exchange: str | None = None
    routing_key: str | None = None
    reply_to: str | None = None
    shadow: str | None = None
    serializer: Literal["json", "auth"] | None = None
    compression: None = None
    countdown: _Seconds | None = None
    eta: Moment | None = None
    expires: Moment | _Seconds | None = None
    time_limit: _Seconds | None = None
    soft_time_limit: _Seconds | None = None
    retries: Annotated[int, Field(ge=0, le=1000)] | None = None
    replaced_task_nesting: int | None = None
    priority: Annotated[int, Field(ge=0, le=255)] | None = None
    delivery_mode: Literal[1, 2, "transient", "persistent"] | None = None
    ignore_result: bool | None = None
    add_to_parent: bool | None = None
    retry: bool | None = None
    retry_policy: None = None
    headers: dict[str, Any] | None = None
    stamped_headers: list[str] | None = None
    link: list[dict[str, Any]] | dict[str, Any] | None = None
    link_error: list[dict[str, Any]] | dict[str, Any] | None = None
    chain: list[dict[str, Any]] | None = None
    chord: dict[str, Any] | None = None
    app: None = None
    connection: None = None
    producer: None = None
    publisher: None = None
    router: None = None
    route_name: str | None = None
    result_cls: None = None
    task_type: None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_positions(cls, value: Any) -> Any:
        if isinstance(value, dict) and (twice := sorted(_POSITIONS & value.keys())):
            raise ValueError(f"expected options of apply_async, found the parameter {twice[0]}")
        return value


class _Signature(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    task: Name
    args: list[Any]
    keywords: Annotated[dict[str, Any], Field(alias="kwargs")]
    options: _Options
    subtask_type: Literal["chain", "group", "chord", "chunks", "xmap", "xstarmap"] | None = None
    immutable: bool | None = None
    chord_size: int | None = None


class _Tasks(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    tasks: list[dict[str, Any]]


class _Chord(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    header: list[dict[str, Any]] | dict[str, Any]
    body: dict[str, Any]
    keywords: Annotated[dict[str, Any], Field(alias="kwargs")]


class _Repeated(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    task: dict[str, Any]
    it: list[Any]


_KWARGS: Final[Mapping[str, type[BaseModel]]] = {
    "chain": _Tasks,
    "group": _Tasks,
    "chord": _Chord,
    "chunks": _Repeated,
    "xmap": _Repeated,
    "xstarmap": _Repeated,
}

_TASKS: Final = {
    "celery.chain": "chain",
    "celery.group": "group",
    "celery.chord": "chord",
    "celery.chunks": "chunks",
    "celery.map": "xmap",
    "celery.starmap": "xstarmap",
}
"""Celery's own tasks, and the type of signature that it builds them for."""


def check_signatures(embed: Mapping[str, Any] | None) -> None:
    """Raise `ValueError` unless every signature below `embed` can be built and sent.

    Times become the objects that Celery expects, in place.
    """
    waiting = [(path, value, 1) for path, value in _children(embed or {}, _EMBED)]
    while waiting:
        path, value, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise ValueError(f"{path:.200}: expected at most {_MAX_DEPTH} levels of signatures")
        for name, child in _check(path, value):
            waiting.append((f"{path}.{name}", child, depth + 1))


_EMBED: Final = ("callbacks", "errbacks", "chain", "chord")
_OPTIONS: Final = ("link", "link_error", "chain", "chord")
_ARGUMENTS: Final = ("tasks", "header", "body", "task")


def _check(path: str, value: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        signature = _Signature.model_validate(value)
        if signature.subtask_type:
            _KWARGS[signature.subtask_type].model_validate(signature.keywords)
    except ValidationError as error:
        raise ValueError(f"{path:.200}: expected a signature: {explain(error)}") from error
    if (task := _TASKS.get(signature.task)) != signature.subtask_type:
        raise ValueError(f"{path:.200}.subtask_type: expected {task} for {signature.task:.100}")
    options = value["options"]
    for name in ("eta", "expires"):
        if isinstance(moment := getattr(signature.options, name), datetime):
            options[name] = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    for header in signature.options.stamped_headers or ():
        if header not in options:
            raise ValueError(f"{path:.200}.options: expected the stamp {header!r:.100}")
    yield from _children(options, _OPTIONS, prefix="options.")
    if signature.subtask_type:
        # Only what the type's schema has checked; further arguments are data.
        checked = _KWARGS[signature.subtask_type].model_fields
        names = tuple(name for name in _ARGUMENTS if name in checked)
        yield from _children(value["kwargs"], names, prefix="kwargs.")


def _children(
    parent: Mapping[str, Any], names: tuple[str, ...], *, prefix: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in names:
        child = parent.get(name)
        if isinstance(child, dict):
            yield prefix + name, child
        elif child is not None:
            for index, item in enumerate(child):
                yield f"{prefix}{name}.{index}", item
