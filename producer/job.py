"""The contract between producer and worker: small, versioned, immutable JSON values.

A `Job` names its source and its destinations, so a worker needs no naming rule. An `Outcome` says
what became of it. Messages in flight outlive a deployment: a change that an older reader would
misunderstand raises `SCHEMA_VERSION`, and every version has a golden message in the tests.
"""

import re
import time
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    model_validator,
)

__all__ = [
    "JOB_ID",
    "QUEUE",
    "SCHEMA_VERSION",
    "TASK_NAME",
    "ImageRef",
    "InvalidJob",
    "Job",
    "Options",
    "Outcome",
    "OutputFacts",
    "RunFacts",
    "SourceFacts",
    "explain",
]

SCHEMA_VERSION: Final = 1
TASK_NAME: Final = "cutwork.segment"
QUEUE: Final = "cutwork.default"

JOB_ID: Final = re.compile(r"^[A-Za-z0-9._:-]{1,128}$")

_LONGEST_KEY_BYTES: Final = 1024
"""The limit S3 itself sets on the UTF-8 length of a key."""


class InvalidJob(ValueError):
    """A message, or the arguments of a submit, do not make a job; the text says where and why."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImageRef(_Value):
    """One object in S3, written `s3://bucket/key`; the key is never decoded or normalised."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `s3://bucket/key`; `ValueError` says what is wrong with anything else."""
        scheme, separator, rest = text.partition("://")
        bucket, slash, key = rest.partition("/")
        if scheme != "s3" or not separator or not slash or not bucket or not key:
            raise ValueError("expected s3://bucket/key")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
            raise ValueError(f"{bucket!r} is not a bucket name")
        try:
            length = len(key.encode())
        except UnicodeEncodeError as error:
            raise ValueError("the key is not valid Unicode") from error
        if length > _LONGEST_KEY_BYTES:
            raise ValueError(f"the key has {length} bytes, S3 allows {_LONGEST_KEY_BYTES}")
        return cls(bucket=bucket, key=key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def _parse_ref(value: object) -> object:
    return ImageRef.parse(value) if isinstance(value, str) else value


def _one_or_three(value: object) -> object:
    """Let one number stand for the three channels without losing how it was written."""
    return tuple(value) if isinstance(value, list) else value


def _above_zero(value: float | tuple[float, float, float]) -> float | tuple[float, float, float]:
    if min(value if isinstance(value, tuple) else (value,)) <= 0:
        raise ValueError("every number must be greater than 0")
    return value


Ref = Annotated[ImageRef, BeforeValidator(_parse_ref), PlainSerializer(str, return_type=str)]
Channels = Annotated[float | tuple[float, float, float], BeforeValidator(_one_or_three)]
Side = Annotated[int, Field(ge=32, le=4096)]
Size = Annotated[Side | tuple[Side, Side], BeforeValidator(_one_or_three)]
ImageFormat = Literal["png", "webp", "tiff"]
JobId = Annotated[str, StringConstraints(pattern=JOB_ID.pattern)]


class Options(_Value):
    """How one image is to be cut out. The descriptions are the help texts of both command lines."""

    model: str = Field(
        default="isnet-general-use",
        min_length=1,
        max_length=2048,
        description="Catalogue name, or s3://bucket/key of an .onnx, .pth or .safetensors file.",
    )
    model_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="Refuse the model unless its file has this SHA-256."
    )
    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Binary mask: alpha is 255 where the map is above this, else 0. None: soft.",
    )
    device_mode: Literal["auto", "prefer_gpu", "cpu", "require_gpu"] = Field(
        default="auto",
        description="Where to run: a GPU when there is one, only the CPU, or a GPU or not at all.",
    )
    enabled: bool = Field(
        default=True, description="Off: the image passes through unchanged, the mask is all zero."
    )
    mean: Channels | None = Field(
        default=None, description="Subtracted from the 0…1 input; one number or three (R,G,B)."
    )
    std: Annotated[Channels, AfterValidator(_above_zero)] | None = Field(
        default=None, description="Divides the input after the mean; one number or three, above 0."
    )
    size: Size | None = Field(
        default=None, description="Input size of the model in pixels: one side, or width,height."
    )
    image_format: ImageFormat = Field(
        default="png", description="Format of the RGBA cut-out (WebP is lossless)."
    )
    mask_format: ImageFormat = Field(
        default="png", description="Format of the 8-bit mask (WebP is lossless)."
    )
    if_exists: Literal["skip", "overwrite"] = Field(
        default="skip",
        description="Skip when the outputs carry this source, model and options as fingerprint.",
    )


class Job(_Value):
    """One image to cut out: where it is, where the results go, and how to make them."""

    version: Literal[1] = SCHEMA_VERSION
    id: JobId = Field(default_factory=lambda: uuid.uuid4().hex)
    source: Ref
    image: Ref | None = None
    """Where the RGBA cut-out goes."""
    mask: Ref | None = None
    """Where the mask goes: 8-bit grey, 0 is background."""
    options: Options = Options()
    submitted_at: float = Field(default_factory=time.time, ge=0)
    """Unix time in seconds, for the age of what waits."""

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


class SourceFacts(_Value):
    """What the source object turned out to be."""

    ref: Ref
    etag: str | None = None
    bytes: int | None = None
    format: str | None = None
    mode: str | None = None
    """Pillow's name of the pixel format as stored, such as `P` or `I;16`."""
    size: tuple[int, int] | None = None
    """Width and height in pixels, upright."""


class OutputFacts(_Value):
    """One object written, or found already there when the job was skipped."""

    ref: Ref
    etag: str | None = None
    bytes: int
    size: tuple[int, int] | None = None


class RunFacts(_Value):
    """Where the model really ran, read back from the engine that ran it."""

    model: str
    sha256: str
    engine: str
    provider: str
    device: str
    dtype: str


class Outcome(_Value):
    """What became of a job. `state` is final: nothing follows it but a new job."""

    version: Literal[1] = SCHEMA_VERSION
    job_id: str
    state: Literal["done", "skipped", "failed"]
    code: str | None = None
    """Stable error code when failed; the README lists them all."""
    message: str | None = None
    """What was expected, what was found, what to do."""
    source: SourceFacts | None = None
    image: OutputFacts | None = None
    mask: OutputFacts | None = None
    fingerprint: str | None = None
    """SHA-256 over source ETag, model hash, options and pipeline version; also on the outputs."""
    run: RunFacts | None = None
    foreground_share: float | None = None
    """Mean of the mask, 0…1."""
    bounding_box: tuple[int, int, int, int] | None = None
    """Left, upper, right, lower of the non-zero mask, in pixels; right and lower exclusive."""
    no_foreground: bool | None = None
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = {}
    """Wall time of each stage: fetch, decode, load, model, mask, encode, store, and total."""
    worker: str | None = None
    attempt: int = 1
    finished_at: float = Field(default_factory=time.time)

    @property
    def ok(self) -> bool:
        """True when the outputs are there: made now, or found with the same fingerprint."""
        return self.state != "failed"

    def to_message(self) -> dict[str, Any]:
        """The JSON value the ledger stores and the Celery task returns."""
        return self.model_dump(mode="json", exclude_none=True)


def explain(error: ValidationError, *, name: Callable[[str], str] = str) -> str:
    """Turn pydantic's report into sentences: field, what was expected, what was found.

    `name` turns a field's name into the one its user knows, such as that of a variable.
    """
    expected: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for item in error.errors(include_url=False):
        # A union reports once per member, and only the names of fields are for the reader.
        parts = [str(part) for part in item["loc"] if not _is_union_member(part)]
        field = name(".".join(parts)) if parts else ""
        text = item["msg"].removeprefix("Value error, ")
        expected.setdefault(field, []).append(text[:1].lower() + text[1:])
        if item["type"] != "missing" and (field or item["type"] == "model_type"):
            found.setdefault(field, f", found {_shorten(item['input'])}")
    return ". ".join(
        (f"{field}: " if field else "") + "; or ".join(dict.fromkeys(texts)) + found.get(field, "")
        for field, texts in expected.items()
    )


def _is_union_member(part: int | str) -> bool:
    if part in ("float", "int"):
        return True
    return isinstance(part, str) and re.fullmatch(r"[a-z_0-9]+", part) is None


def _shorten(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
