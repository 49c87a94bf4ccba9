"""What became of a job."""

import time
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from producer.contract.job import SCHEMA_VERSION
from producer.contract.s3_uri import Ref, Value

_TINY: Final = 0.005
_FULL: Final = 0.99


class Facts(Value):
    """What a newer worker adds, an older producer passes over."""

    model_config = ConfigDict(extra="ignore")


class SourceFacts(Facts):
    """What the source object turned out to be."""

    ref: Ref
    etag: str | None = None
    bytes: int | None = None
    format: str | None = None
    mode: str | None = None
    """Pillow's name of the pixel format as stored, such as `P` or `I;16`."""
    size: tuple[int, int] | None = None
    """Width and height in pixels, upright."""


class OutputFacts(Facts):
    """One object written, or found already there when the job was skipped."""

    ref: Ref
    etag: str | None = None
    bytes: int
    size: tuple[int, int] | None = None


class RunFacts(Facts):
    """Where the model really ran, read back from the engine that ran it."""

    model: str
    sha256: str
    engine: str
    provider: str
    device: str
    dtype: str
    fallback: str | None = None
    """Code of the reason why it was not a GPU, where the device mode would have had one."""


class UnreadableOutcome(ValueError):
    """What is stored as a job's outcome is none; waiting longer does not mend it."""


class Outcome(Facts):
    """What became of a job. `state` is final: nothing follows it but a new job."""

    version: Literal[1] = SCHEMA_VERSION
    job_id: str
    state: Literal["done", "skipped", "failed", "cancelled"]
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
    crop: tuple[int, int, int, int] | None = None
    """Where the outputs lie in the upright source, as `bounding_box`; None: they are all of it."""
    no_foreground: bool | None = None
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall time of each stage: load, fetch, decode, wait (for the device), model, mask, edges,
    encode, store; and in total."""
    worker: str | None = None
    attempt: int = 1
    finished_at: float = Field(default_factory=time.time)

    @property
    def ok(self) -> bool:
        """True when the outputs are there: made now, or found with the same fingerprint."""
        return self.state in ("done", "skipped")

    @property
    def suspicion(self) -> Literal["no_foreground", "tiny_mask", "full_mask"] | None:
        """Why somebody should look at a result that is no failure."""
        if self.state != "done" or self.run is None or self.foreground_share is None:
            return None
        if self.no_foreground:
            return "no_foreground"
        if self.foreground_share < _TINY:
            return "tiny_mask"
        return "full_mask" if self.foreground_share > _FULL else None

    def to_message(self) -> dict[str, Any]:
        """The JSON value the ledger stores and the Celery task returns."""
        return self.model_dump(mode="json", exclude_none=True)
