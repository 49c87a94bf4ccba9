"""One line of a manifest: a source and its destinations, or why it is none."""

import re
from typing import Final, NamedTuple

from pydantic import ValidationError

from producer.contract.job import Job
from producer.contract.s3_uri import BUCKET, ImageRef
from producer.contract.untrusted_text import shorten
from producer.contract.validation_errors import explain

_LONGEST_REASON: Final = 400
# Every text this matches is a reference: a key of up to 256 characters has up to 1,024 bytes.
_SIMPLE_URI: Final = re.compile(rf"s3://{BUCKET.pattern}/.{{1,256}}", re.DOTALL).fullmatch


class Record(NamedTuple):
    """What one line says, not yet looked at; None where it says nothing."""

    number: int
    """The physical line at which it begins, or the row of a Parquet file; from 1."""
    source: str | None
    image: str | None
    mask: str | None


class Line(NamedTuple):
    """One image of a manifest: three different objects, `image` or `mask` or both."""

    number: int
    source: ImageRef
    image: ImageRef | None
    mask: ImageRef | None


class BadLine(NamedTuple):
    """A line that cannot be a job."""

    number: int
    reason: str
    """What was expected and what was found; holds a stranger's text, shortened."""


def rejection(record: Record) -> str | None:
    """Why a record does not make a job, by the rules of `Job`; None when it does."""
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
    # A `Job` takes ten times as long as the rules above, and is the one that can say why.
    uris = {"source": source, "image": image, "mask": mask}
    try:
        Job.model_validate({name: uri for name, uri in uris.items() if uri})
    except ValidationError as error:
        return shorten(explain(error), _LONGEST_REASON)
    return None


def line(record: Record) -> Line:
    """The line of a record that was not refused."""
    number, source, image, mask = record
    return Line(
        number,
        ImageRef.parse(source or ""),
        ImageRef.parse(image) if image else None,
        ImageRef.parse(mask) if mask else None,
    )
