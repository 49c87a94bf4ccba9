"""The schema of the Celery message around a job: the parts that Celery uses without checking them.

`celery_patches` refuses messages that do not match. Before it, `kombu_patches` drops queue entries
that are not messages; after it, `worker.runtime.tasks` refuses messages without a valid job.

Source: https://docs.celeryq.dev/en/stable/internals/protocol.html, version 2.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from producer.contract.validation_errors import explain

_Name = Annotated[str, Field(min_length=1, max_length=255)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Headers(_Part):
    id: _Name
    task: Literal["cutwork.segment"]
    """Every app also has tasks of Celery's own; messages must not call them."""
    root_id: _Name | None = None
    parent_id: _Name | None = None
    group: _Name | None = None
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


class _Properties(_Part):
    correlation_id: str | None = None
    reply_to: str | None = None
    priority: int | None = None


class _Embed(_Part):
    callbacks: list[dict[str, Any]] | None = None
    errbacks: list[dict[str, Any]] | None = None
    chain: list[dict[str, Any]] | None = None
    chord: dict[str, Any] | None = None


class _Message(_Part):
    headers: _Headers
    properties: _Properties
    body: Annotated[tuple[list[Any], dict[str, Any], _Embed | None], Field(strict=False)]


def check(*, headers: object, properties: object, body: object) -> None:
    """Raise `ValueError` with an explanation unless this is a message of protocol version 2."""
    try:
        _Message.model_validate({"headers": headers, "properties": properties, "body": body})
    except ValidationError as error:
        raise ValueError(explain(error)) from error


def check_id(*, headers: dict[str, Any], body: Any) -> None:
    """Raise `ValueError` unless the message's id is the id of the job in its body.

    A signature covers the body alone. This check ties the header that decides whose outcome is
    stored to the signed body, and rejects signed bodies that are not a job.
    """
    job = body[0][0] if body[0] else None
    job_id = job.get("id") if isinstance(job, dict) else None
    if job_id != headers["id"]:
        raise ValueError(f"headers.id: expected the signed job's id, {job_id!r:.130}")
