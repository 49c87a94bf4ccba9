"""The message between producer and worker: small, versioned, immutable JSON.

A `Job` names its source and its destinations, so a worker needs no naming rule. Messages in flight
outlive a deployment: a change that an older reader would misunderstand raises `SCHEMA_VERSION`, and
every version has a golden message in the tests.
"""

import re
import time
import uuid
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from producer.contract.options import Options
from producer.contract.s3_uri import Ref, Value
from producer.contract.validation_errors import explain

SCHEMA_VERSION: Final = 1
TASK_NAME: Final = "cutwork.segment"
QUEUE: Final = "cutwork.default"
SINGLE_PRIORITY: Final = 3
BULK_PRIORITY: Final = 6
"""Of a run's jobs. A lower number goes first: what somebody waits for overtakes them."""
JOB_ID: Final = re.compile(r"^[A-Za-z0-9._:-]{1,128}$")

_RUN: Final = r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}"

RunId = Annotated[str, StringConstraints(pattern=f"^{_RUN}$")]
"""UTC date and time of the start and six random digits, such as `20261122-081500-3fa9c1`."""
JobId = Annotated[str, StringConstraints(pattern=JOB_ID.pattern)]


def run_of_job_id(job_id: str) -> str | None:
    """The run of `cutwork sync` that a job belongs to, None for a single one.

    Jobs of a run are called after it, so that even a message nobody can read is counted there.
    """
    found = re.match(rf"({_RUN})\.", job_id)
    return found and found[1]


class InvalidJob(ValueError):
    """A message, or the arguments of a submit, do not make a job; the text says where and why."""


class Job(Value):
    """One image to cut out: where it is, where the results go, and how to make them."""

    version: Literal[1] = SCHEMA_VERSION
    id: JobId = Field(default_factory=lambda: uuid.uuid4().hex)
    source: Ref
    image: Ref | None = None
    """Where the RGBA cut-out goes."""
    mask: Ref | None = None
    """Where the mask goes: grey, 0 is background."""
    options: Options = Options()
    tenant: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")] | None = None
    """Whose it is, where services that share workers have queues of their own."""
    submitted_at: float = Field(default_factory=time.time, ge=0)
    """Unix time in seconds, for the age of what waits."""

    @property
    def run(self) -> str | None:
        """The id of the run that the job belongs to; None for a single job."""
        return run_of_job_id(self.id)

    @model_validator(mode="after")
    def _destinations(self) -> Self:
        places = [place for place in (self.image, self.mask) if place is not None]
        if not places:
            raise ValueError("expected a destination: image, mask, or both")
        if len({self.source, *places}) != len(places) + 1:
            raise ValueError("source, image and mask must be three different objects")
        return self

    @classmethod
    def from_message(cls, message: object) -> Self:
        """Read a message's JSON value; `InvalidJob` says what was expected and what was found."""
        if isinstance(message, dict) and message.get("version", SCHEMA_VERSION) != SCHEMA_VERSION:
            raise InvalidJob(
                f"version: expected {SCHEMA_VERSION}, found {message['version']!r}; "
                "the producer and this worker are of different releases, upgrade the older one"
            )
        try:
            return cls.model_validate(message)
        except ValidationError as error:
            raise InvalidJob(explain(error)) from error

    def to_message(self) -> dict[str, Any]:
        """The JSON value to send; options left at their default are left out."""
        message = self.model_dump(mode="json", exclude_none=True, exclude={"options"})
        options = self.options.model_dump(mode="json", exclude_defaults=True)
        return message | ({"options": options} if options else {})
