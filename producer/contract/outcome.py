"""The outcome of a job."""

import time
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field, field_validator

from producer.contract.bounded import check_time
from producer.contract.errors import CutworkError
from producer.contract.job import SCHEMA_VERSION
from producer.contract.s3_uri import Ref, Value
from producer.contract.untrusted_text import bound

LONGEST_LINE_BYTES: Final = 2048
"""UTF-8 length of every text in an outcome, except ids and URIs, which have bounds of their own."""
MAX_WARNINGS: Final = 20
_TINY_SHARE: Final = 0.005
_FULL_SHARE: Final = 0.99


def bound_texts(value: object) -> object:
    """Return a text as one printable line of at most `LONGEST_LINE_BYTES`, a list as such lines.

    For validators: a longer text, which an older worker may have stored, loses its middle instead
    of being refused, and a list its end. Other values stay as they are.
    """
    if isinstance(value, str):
        return bound(value, LONGEST_LINE_BYTES)
    if not isinstance(value, list | tuple):
        return value
    if len(value) > MAX_WARNINGS:
        kept = MAX_WARNINGS - 1
        value = (*value[:kept], f"{len(value) - kept:,} more warnings were left out")
    return tuple(map(bound_texts, value))


class Facts(Value):
    """A value whose unknown fields are ignored, so that it may come from a newer release."""

    model_config = ConfigDict(extra="ignore")


class SourceFacts(Facts):
    """The source object as the worker found it."""

    ref: Ref
    """The object, `s3://bucket/key`."""
    etag: str | None = None
    """S3's ETag."""
    bytes: int | None = None
    """Size of the file."""
    format: str | None = None
    """Format of the file, such as `JPEG`; None if it was not decoded."""
    mode: str | None = None
    """Pillow's name of the stored colour mode, such as `P` or `I;16`."""
    size: tuple[int, int] | None = None
    """Width and height in pixels, after the EXIF orientation is applied."""

    _bound_texts = field_validator("etag", "format", "mode", mode="before")(bound_texts)


class OutputFacts(Facts):
    """One output: an object that was written, or that existed already if the job was skipped."""

    ref: Ref
    """The object, `s3://bucket/key`."""
    etag: str | None = None
    """S3's ETag."""
    bytes: int
    """Size of the file."""
    size: tuple[int, int] | None = None
    """Width and height in pixels; None if the job was skipped."""

    _bound_texts = field_validator("etag", mode="before")(bound_texts)


class RunFacts(Facts):
    """The model and the device of the inference, as the engine that ran it reports them."""

    model: str
    """Name or `s3://` URI of the model."""
    sha256: str
    """SHA-256 of the model's file."""
    engine: str
    """The engine: `cutwork` for the own engine, `onnxruntime` with its version, or `torch`."""
    provider: str
    """The engine's backend, such as `Winograd` or `CUDAExecutionProvider`."""
    device: str
    """The device, such as `cpu`."""
    dtype: str
    """The number type of the inference, such as `float32`."""
    fallback: str | None = None
    """Code of the reason why the CPU was used although the device mode prefers a GPU."""

    _bound_texts = field_validator("*", mode="before")(bound_texts)


class UnreadableOutcome(CutworkError, ValueError):
    """The value stored as a job's outcome is not an outcome.

    Another program wrote to the broker's database, or a release with another schema did. Waiting
    longer does not help: submit the job again.
    """

    code = "unreadable_outcome"


class Outcome(Facts):
    """The outcome of a job. It is final: only a new job for the same image leads to another one.

    Every text is one printable line of at most 2,048 bytes; a longer one loses its middle.
    """

    version: Literal[1] = SCHEMA_VERSION
    """Version of the schema."""
    job_id: str
    """The job's id."""
    state: Literal["done", "skipped", "failed", "cancelled"]
    """How the job ended; `skipped`: outputs with its fingerprint existed already."""
    code: str | None = None
    """Stable error code if the job failed; docs/reference/errors.md lists all codes."""
    message: str | None = None
    """What was expected, what was found, and what to do."""
    source: SourceFacts | None = None
    """The source."""
    image: OutputFacts | None = None
    """The cut-out; None if none was asked for, or the job failed."""
    mask: OutputFacts | None = None
    """The mask; None if none was asked for, or the job failed."""
    fingerprint: str | None = None
    """SHA-256 of source ETag, model hash, options and pipeline version; metadata of the outputs."""
    run: RunFacts | None = None
    """The inference; None if there was none."""
    foreground_share: float | None = None
    """Mean of the mask, 0–1."""
    bounding_box: tuple[int, int, int, int] | None = None
    """Left, upper, right, lower edge of the non-zero mask in pixels; right and lower exclusive."""
    crop: tuple[int, int, int, int] | None = None
    """The part of the upright source that the outputs show, as `bounding_box`; None: all of it."""
    no_foreground: bool | None = None
    """Whether the mask is all zero; None without an inference."""
    warnings: tuple[str, ...] = ()
    """Sentences about options without effect and doubtful results, 20 at most."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall time of each stage: load, fetch, wait (for memory and the device), decode, prepare,
    model, mask, matting, edges, encode, store; and `total`."""
    worker: str | None = None
    """Host name of the worker, as Celery calls it."""
    attempt: int = 1
    """The number of the attempt, from 1."""
    finished_at: float = Field(default_factory=time.time)
    """Unix time in seconds."""

    _bound_texts = field_validator(
        "code", "message", "fingerprint", "warnings", "worker", mode="before"
    )(bound_texts)

    _check_time = field_validator("finished_at")(check_time)

    @property
    def ok(self) -> bool:
        """Whether the outputs exist: written by this job, or found with the same fingerprint."""
        return self.state in ("done", "skipped")

    @property
    def suspicion(self) -> Literal["no_foreground", "tiny_mask", "full_mask"] | None:
        """Why a person should look at a successful output; None if nothing is suspicious.

        `no_foreground`: the mask is all zero; `tiny_mask`: its mean is below 0.005; `full_mask`:
        its mean is above 0.99.
        """
        if self.state != "done" or self.run is None or self.foreground_share is None:
            return None
        if self.no_foreground:
            return "no_foreground"
        if self.foreground_share < _TINY_SHARE:
            return "tiny_mask"
        return "full_mask" if self.foreground_share > _FULL_SHARE else None

    def to_message(self) -> dict[str, Any]:
        """Return the JSON value that the ledger stores and the Celery task returns."""
        return self.model_dump(mode="json", exclude_none=True)


def cancelled_outcome(job_id: str, reason: str) -> Outcome:
    """Return the outcome of a job that did not begin; `reason` says why, as a clause."""
    return Outcome(job_id=job_id, state="cancelled", message=f"did not begin: {reason}")
