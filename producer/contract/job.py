"""The message that a producer sends to a worker: small, versioned, immutable JSON.

A `Job` names its source and its destinations, so a worker needs no naming rule. Messages in flight
outlive a deployment: raise `SCHEMA_VERSION` with any change that an older reader would
misunderstand. The tests hold a golden message of every version.
"""

import re
import time
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from producer.contract.errors import InvalidJob
from producer.contract.options import Options
from producer.contract.s3_uri import CallerValue, ImageRef, Ref
from producer.contract.validation_errors import explain

SCHEMA_VERSION: Final = 1
TASK_NAME: Final = "cutwork.segment"
QUEUE: Final = "cutwork.default"
SINGLE_PRIORITY: Final = 3
BULK_PRIORITY: Final = 6
"""Priority of a run's jobs. Lower numbers are delivered first, so single jobs, for which a caller
waits, overtake them."""
JOB_ID: Final = re.compile(r"^[A-Za-z0-9._:-]{1,128}$")

RUN_ID: Final = r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}"

RunId = Annotated[str, StringConstraints(pattern=f"^{RUN_ID}$")]
"""UTC date and time of the start and six random hex digits, such as `20261122-081500-3fa9c1`."""
JobId = Annotated[str, StringConstraints(pattern=JOB_ID.pattern)]


def run_of_job_id(job_id: str) -> str | None:
    """Return the id of the run that a job belongs to, None for a single job.

    The id of a run's job begins with the run's id and a dot, so that a failed job is counted for
    its run even when its message cannot be read. With a `Job`, use `Job.run`.
    """
    match = re.match(rf"({RUN_ID})\.", job_id)
    return match and match[1]


class Job(CallerValue):
    """One image to process: its source, the destinations of its outputs, and the options."""

    version: Literal[1] = SCHEMA_VERSION
    """Version of the schema."""
    id: JobId = Field(default_factory=lambda: uuid.uuid4().hex)
    """Unique id, also of the Celery task; random by default."""
    source: Ref
    """The image to read."""
    image: Ref | None = None
    """Destination of the cut-out, an RGBA image unless the options have a background."""
    mask: Ref | None = None
    """Destination of the mask: grey, 0 is background."""
    options: Options = Options()
    """How the image is processed."""
    tenant: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")] | None = None
    """The service that submitted the job, if services that share workers have own queues."""
    submitted_at: float = Field(default_factory=time.time, ge=0)
    """Unix time in seconds; the age of a queued or lost job is measured from here."""

    if TYPE_CHECKING:  # Type checkers do not know that a text is accepted as an `ImageRef`.

        def __init__(
            self,
            *,
            version: Literal[1] = ...,
            id: str = ...,  # noqa: A002 - the name of the field
            source: ImageRef | str,
            image: ImageRef | str | None = ...,
            mask: ImageRef | str | None = ...,
            options: Options = ...,
            tenant: str | None = ...,
            submitted_at: float = ...,
        ) -> None: ...

    @property
    def run(self) -> str | None:
        """The id of the run that the job belongs to; None for a single job."""
        return run_of_job_id(self.id)

    @model_validator(mode="after")
    def _validate_destinations(self) -> Self:
        destinations = [ref for ref in (self.image, self.mask) if ref is not None]
        if not destinations:
            raise ValueError("expected a destination: image, mask, or both")
        if len({self.source, *destinations}) != len(destinations) + 1:
            raise ValueError("source, image and mask must be three different objects")
        return self

    @classmethod
    def from_message(cls, message: object) -> Self:
        """Return the job in a message's JSON value; raise `InvalidJob` if it is not a job."""
        if isinstance(message, dict) and message.get("version", SCHEMA_VERSION) != SCHEMA_VERSION:
            raise InvalidJob(
                f"version: expected {SCHEMA_VERSION}, found {message['version']!r}; "
                "the producer and this worker are different releases; upgrade the older one"
            )
        try:
            return cls.model_validate(message)
        except ValidationError as error:
            raise InvalidJob(explain(error)) from error

    def to_message(self) -> dict[str, Any]:
        """Return the JSON value to send; options with their default value are left out."""
        message = self.model_dump(mode="json", exclude_none=True, exclude={"options"})
        options = self.options.model_dump(mode="json", exclude_defaults=True)
        return message | ({"options": options} if options else {})
