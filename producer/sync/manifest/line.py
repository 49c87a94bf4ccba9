"""One line of a manifest: a source and its destinations, or the reason why it is invalid."""

import re
from typing import Final, NamedTuple, Self

from pydantic import ValidationError

from producer.contract.job import Job
from producer.contract.s3_uri import BUCKET, ImageRef
from producer.contract.untrusted_text import shorten
from producer.contract.validation_errors import explain

_LONGEST_REASON: Final = 400
# Matches only valid references: a key of up to 256 characters has at most 1,024 bytes.
_SIMPLE_URI: Final = re.compile(rf"s3://(?:{BUCKET.pattern})/.{{1,256}}", re.DOTALL).fullmatch


class Record(NamedTuple):
    """The fields of one line before validation; None for an empty field."""

    number: int
    """The number of its first physical line, or of its row in a Parquet file, from 1."""
    source: str | None
    image: str | None
    mask: str | None


class Line(NamedTuple):
    """A valid line: a source, and a cut-out or a mask or both, all of them different objects."""

    number: int
    source: ImageRef
    image: ImageRef | None
    mask: ImageRef | None

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Parse a record for which `rejection` is None."""
        number, source, image, mask = record
        return cls(
            number,
            ImageRef.parse(source or ""),
            ImageRef.parse(image) if image else None,
            ImageRef.parse(mask) if mask else None,
        )


class BadLine(NamedTuple):
    """A line that does not make a job."""

    number: int
    reason: str
    """What was expected and what was found, with an excerpt of the line."""


def rejection(record: Record) -> str | None:
    """Return why a record does not make a job, by the rules of `Job`; None if it does."""
    _, source, image, mask = record
    if (
        source
        and _SIMPLE_URI(source)
        and (image or mask)
        and (not image or _SIMPLE_URI(image))
        and (not mask or _SIMPLE_URI(mask))
        and source != image
        and source != mask
        and image != mask
    ):
        return None
    # Validating a `Job` takes ten times as long as the check above, but gives the reason.
    uris = {"source": source, "image": image, "mask": mask}
    try:
        Job.model_validate({name: uri for name, uri in uris.items() if uri})
    except ValidationError as error:
        return shorten(explain(error), _LONGEST_REASON)
    return None
