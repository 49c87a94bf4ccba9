"""One run of `cutwork sync`: its specification and its progress."""

import hashlib
import time
from typing import Final, Literal

from pydantic import Field, field_validator

from producer.contract.bounded import Amount, Count, MinuteStart, Time
from producer.contract.job import RunId
from producer.contract.options import Options
from producer.contract.outcome import Facts, Outcome, bound_texts
from producer.contract.s3_uri import Ref, Value

RunState = Literal["running", "finished", "cancelled"]

_CONFLICT: Final = "name_"
"""The beginning of the codes of inputs that count as conflicting."""
DEFAULT_NAME: Final = "{parent}{stem}.{ext}"


class RunSpec(Value):
    """The specification of a run. Two commands with equal specifications are the same sync."""

    source: str | None = None
    """`s3://bucket/prefix` of the sources; None with a manifest."""
    manifest: str | None = None
    """The manifest as it was named: a path, an `s3://` object or `-`."""
    manifest_sha256: str | None = None
    image: str | None = None
    """`s3://bucket/prefix` of the cut-outs; None without cut-outs, and with a manifest."""
    mask: str | None = None
    name: str = DEFAULT_NAME
    options: Options = Options()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignore_case: bool = False
    """Whether `include` and `exclude` match in any case."""
    all_files: bool = False
    """Whether objects without the suffix of an image are inputs too."""
    since: Time | None = None
    """Unix time in seconds; older sources are excluded."""
    since_given: str | None = None
    """`since` as it was typed, such as `7d`. A resumed run keeps the time that the first command
    computed from it."""
    limit: int | None = None
    """The largest number of jobs to send."""
    force: bool = False
    changed_options: bool = False
    check_sources: bool = False
    retry_failed: bool = False
    skip_bad_lines: bool = False

    def digest(self) -> str:
        """Return the SHA-256 that identifies the specification.

        It leaves out the manifest's name, as its hash is included, and `since`, as `since_given`
        is: the same command typed later has the same digest. It also leaves out defaults, so that
        the digest stays the same in a release that adds an option or changes a default.
        """
        given = self.model_dump_json(exclude={"manifest", "since"}, exclude_defaults=True)
        return hashlib.sha256(given.encode()).hexdigest()


class RunCounts(Value):
    """How many inputs of a run were sent, left out, and ended in which state.

    `seen = excluded + archived + current + known + conflicting + sent`, and at the end
    `sent = done + skipped + failed + cancelled`.
    """

    seen: Count = 0
    """Inputs read from the listing or the manifest."""
    excluded: Count = 0
    """Left out: folders, names that are not those of images, and what --include, --exclude or
    --since leave out."""
    folders: Count = 0
    """Part of `excluded`: the empty objects of folders."""
    not_images: Count = 0
    """Part of `excluded`: objects without the suffix of an image, which --all sends."""
    archived: Count = 0
    """Left out because their storage class, such as Glacier, must be restored to read them."""
    current: Count = 0
    """Left out because the outputs exist and are newer."""
    known: Count = 0
    """Left out because an earlier run found that the unchanged object is not a readable image."""
    conflicting: Count = 0
    """Not sent because its output has no name of its own: `name_conflict`, `name_too_long` or
    `name_misplaced`. It does not count as failed."""
    sent: Count = 0
    done: Count = 0
    skipped: Count = 0
    """Sent, but a worker found the outputs with the same fingerprint."""
    failed: Count = 0
    cancelled: Count = 0

    @property
    def in_flight(self) -> int:
        """Jobs sent that have no outcome yet."""
        return self.sent - self.done - self.skipped - self.failed - self.cancelled


class Failure(Value):
    """One failed input; a line of failures.jsonl, which can be used as a manifest."""

    source: Ref
    image: Ref | None = None
    mask: Ref | None = None
    code: str
    message: str

    _bound_texts = field_validator("code", "message", mode="before")(bound_texts)

    @property
    def is_conflict(self) -> bool:
        """Whether the input was not sent, because its output has no name of its own."""
        return self.code.startswith(_CONFLICT)


class Minute(Facts):
    """The work that ended in one minute."""

    start: MinuteStart
    """Unix time in seconds, a multiple of 60."""
    images: Count
    """Outcomes of all states but `cancelled`."""
    pixels: Count


class RunRecord(Facts):
    """The state of a run, with everything a report needs; its size has a bound."""

    id: RunId
    state: RunState
    spec: RunSpec
    created_at: Time
    """Unix time in seconds, like all times in this record."""
    finished_at: Time | None = None
    taken_at: float = Field(default_factory=time.time)
    """When this record was read."""
    command: str | None = None
    """The command that started the run; the same command resumes it."""
    total: Count | None = None
    """Jobs that the whole run will have sent, once they have been counted ahead."""
    report_due: str | None = None
    """Where the command that fed the run is to write its report; None once it is written."""
    resumed: Count = 0
    """How many times the run was resumed."""
    counts: RunCounts = RunCounts()
    codes: dict[str, Count] = Field(default_factory=dict)
    """Failed and conflicting inputs by error code."""
    suspicions: dict[str, Count] = Field(default_factory=dict)
    """Outcomes by `Outcome.suspicion`."""
    pixels: Count = 0
    """Sum over all decoded sources."""
    source_bytes: Count = 0
    output_bytes: Count = 0
    """Bytes written, of cut-outs and masks."""
    seconds: dict[str, Amount] = Field(default_factory=dict)
    """Seconds of all `done` jobs, by stage and as `total`."""
    minutes: tuple[Minute, ...] = ()
    """In order; minutes in which no job ended are left out."""
    workers: dict[str, Count] = Field(default_factory=dict)
    """Outcomes by worker."""
    slowest: tuple[Outcome, ...] = ()
    """The slowest `done` jobs, slowest first."""
    suspicious: tuple[Outcome, ...] = ()
    """A uniform sample of the outcomes with a suspicion."""
    sample: tuple[Outcome, ...] = ()
    """A uniform sample of the `done` jobs."""
    failures: tuple[Failure, ...] = ()
    """The first ones, at most 1,000; `failures_left_out` of them are missing."""
    failures_left_out: int = 0

    @property
    def failed_codes(self) -> dict[str, int]:
        """The failed images by code, the most frequent code first; they add up to `failed`."""
        return self._codes(conflicts=False)

    @property
    def conflict_codes(self) -> dict[str, int]:
        """The conflicting inputs by code, the most frequent code first."""
        return self._codes(conflicts=True)

    def _codes(self, *, conflicts: bool) -> dict[str, int]:
        pairs = sorted(self.codes.items(), key=lambda item: (-item[1], item[0]))
        return {code: n for code, n in pairs if code.startswith(_CONFLICT) is conflicts}

    @property
    def ok(self) -> bool:
        """Whether the run has finished and no image failed."""
        return self.state == "finished" and not self.counts.failed
