"""The schema of the Celery message around a job: the parts that Celery uses without checking them.

`celery_patches` refuses messages that do not match. Before it, `kombu_patches` drops queue entries
that are not messages; after it, `worker.runtime.tasks` refuses messages without a valid job.

Source: https://docs.celeryq.dev/en/stable/internals/protocol.html, version 2.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from celery.app.task import Context
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from producer.contract.validation_errors import explain
from worker.broker.signature_schema import Name, check_signatures

_MAX_DELAY: Final = timedelta(seconds=60)
"""A worker holds what it delays, beyond the number of its threads; its own retries take 30 s."""


_REQUEST_ATTRIBUTES: Final = frozenset(dir(Context))
_MOMENT: Final = TypeAdapter(datetime)
_EARLIEST, _LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Headers(_Part):
    id: Name
    task: Literal["cutwork.segment"]
    """Every app also has tasks of Celery's own; messages must not call them."""
    root_id: Name | None = None
    parent_id: Name | None = None
    group: Name | None = None
    group_index: int | None = None
    retries: Annotated[int, Field(ge=0, le=1000)] | None = None
    eta: Annotated[datetime, Field(strict=False)] | None = None
    expires: Annotated[datetime, Field(strict=False)] | None = None
    timelimit: Annotated[list[float | None], Field(min_length=2, max_length=2)] | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    shadow: str | None = None
    origin: str | None = None
    ignore_result: bool | None = None
    replaced_task_nesting: int | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None
    lang: str | None = None
    redelivered: bool | None = None
    compression: None = None


class _Properties(_Part):
    correlation_id: str | None = None
    reply_to: str | None = None
    priority: int | None = None


class _Embed(_Part):
    # Celery copies every field into the request, where it could replace any other.
    model_config = ConfigDict(strict=True, extra="forbid")

    callbacks: list[dict[str, Any]] | None = None
    errbacks: list[dict[str, Any]] | None = None
    chain: list[dict[str, Any]] | None = None
    chord: dict[str, Any] | None = None


class _Message(_Part):
    headers: _Headers
    properties: _Properties
    body: Annotated[tuple[list[Any], dict[str, Any], _Embed | None], Field(strict=False)]


def check(*, headers: object, properties: object, body: Any) -> None:
    """Raise `ValueError` with an explanation unless this is a message of protocol version 2.

    The times in signatures become the objects that Celery expects, in place.
    """
    try:
        message = _Message.model_validate(
            {"headers": headers, "properties": properties, "body": body}
        )
    except ValidationError as error:
        raise ValueError(explain(error)) from error
    eta, attempts = message.headers.eta, message.headers.retries
    # A worker whose clock is fast sends retries with a late time.
    if eta and not attempts and _aware(eta) - datetime.now(UTC) > _MAX_DELAY:
        raise ValueError(
            f"headers.eta: expected a start within {_MAX_DELAY.total_seconds():g} s, found {eta}; "
            "send the job when it is due, for example with Celery beat"
        )
    check_signatures(body[2])


def normalize(headers: dict[str, Any]) -> None:
    """Change the headers of a checked message in place to what Celery can rely on.

    Celery copies every header into the task's request, where one that the protocol does not name
    could replace an attribute. The start of a retry is moved to within a minute, and times that
    Celery could not convert between time zones into the range that it can.
    """
    for name in headers.keys() & _REQUEST_ATTRIBUTES - _Headers.model_fields.keys():
        del headers[name]
    for name, latest in (("eta", datetime.now(UTC) + _MAX_DELAY), ("expires", _LATEST)):
        if (value := headers.get(name)) is not None:
            moment = _aware(_MOMENT.validate_python(value))
            headers[name] = min(max(moment, _EARLIEST), latest).isoformat()


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def check_id(*, headers: dict[str, Any], body: Any) -> None:
    """Raise `ValueError` unless the message's id is the id of the job in its body.

    A signature covers the body alone. This check ties the header that decides whose outcome is
    stored to the signed body, and rejects signed bodies that are not a job.
    """
    job = body[0][0] if body[0] else None
    job_id = job.get("id") if isinstance(job, dict) else None
    if job_id != headers["id"]:
        raise ValueError(f"headers.id: expected the signed job's id, {job_id!r:.130}")
