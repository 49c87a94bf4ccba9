"""One run of `cutwork sync`: what was asked, and what has come of it so far."""

import hashlib
import time
from typing import Final, Literal

from pydantic import Field

from producer.contract.job import RunId
from producer.contract.options import Options
from producer.contract.outcome import Facts, Outcome
from producer.contract.s3_uri import Ref, Value

RunState = Literal["running", "finished", "cancelled"]

DEFAULT_NAME: Final = "{parent}{stem}.{ext}"


class RunSpec(Value):
    """What a run was asked to do. Two commands with the same specification are the same sync."""

    source: str | None = None
    """`s3://bucket/prefix` whose objects are cut out; None with a manifest."""
    manifest: str | None = None
    """What the manifest was called: a path, an `s3://` object or `-`."""
    manifest_sha256: str | None = None
    image: str | None = None
    """`s3://bucket/prefix` for the cut-outs; None for none, and with a manifest."""
    mask: str | None = None
    name: str = DEFAULT_NAME
    options: Options = Options()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    since: float | None = None
    """Unix time in seconds; older sources are left alone."""
    since_given: str | None = None
    """The same as it was written, such as `7d`: what the first of several commands meant holds."""
    limit: int | None = None
    """Jobs to send at most."""
    force: bool = False
    changed_options: bool = False
    retry_failed: bool = False
    skip_bad_lines: bool = False

    def digest(self) -> str:
        """SHA-256 of everything that was asked."""
        return hashlib.sha256(
            self.model_dump_json(exclude={"manifest", "since"}).encode()
        ).hexdigest()


class RunCounts(Value):
    """What became of the inputs of a run.

    `seen = excluded + current + known + conflicting + sent`, and at the end
    `sent = done + skipped + failed + cancelled`.
    """

    seen: int = 0
    """Inputs read from the listing or the manifest."""
    excluded: int = 0
    """Left alone by --include, --exclude or --since."""
    current: int = 0
    """Left alone as the outputs are there and newer."""
    known: int = 0
    """Left alone as an earlier run found this very object to be no readable image."""
    conflicting: int = 0
    """Not sent, as another input has the same output's name; a failure, `name_conflict`."""
    sent: int = 0
    done: int = 0
    skipped: int = 0
    """Sent, and found by a worker to be there already with the same fingerprint."""
    failed: int = 0
    cancelled: int = 0

    @property
    def in_flight(self) -> int:
        """Sent and without an outcome yet."""
        return self.sent - self.done - self.skipped - self.failed - self.cancelled


class Failure(Value):
    """One input that did not become an output; a line of failures.jsonl, and so of a manifest."""

    source: Ref
    image: Ref | None = None
    mask: Ref | None = None
    code: str
    message: str


class Minute(Facts):
    """What was finished in one minute."""

    start: int
    """Unix time in seconds, a multiple of 60."""
    images: int
    """Outcomes of every kind but cancelled."""
    pixels: int


class RunRecord(Facts):
    """A run as it stands; everything a report needs, of bounded size however long the run."""

    id: RunId
    state: RunState
    spec: RunSpec
    created_at: float
    """Unix time in seconds, as all times here."""
    finished_at: float | None = None
    taken_at: float = Field(default_factory=time.time)
    """When this record was read."""
    command: str | None = None
    """What was typed to start it; typed again, it goes on."""
    total: int | None = None
    """Jobs that will have been sent at the end, as far as a look ahead could tell."""
    resumed: int = 0
    """How many times the run was taken up again."""
    counts: RunCounts = RunCounts()
    codes: dict[str, int] = Field(default_factory=dict)
    """How often each error code came."""
    suspicions: dict[str, int] = Field(default_factory=dict)
    """How often each of `Outcome.suspicion` came."""
    pixels: int = 0
    """Of all sources that were decoded."""
    source_bytes: int = 0
    output_bytes: int = 0
    """Written, of images and masks."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Work of all `done` together by stage, and in total."""
    minutes: tuple[Minute, ...] = ()
    """In order; minutes in which nothing ended are left out."""
    workers: dict[str, int] = Field(default_factory=dict)
    """Outcomes by worker."""
    slowest: tuple[Outcome, ...] = ()
    """The slowest `done`, slowest first."""
    suspicious: tuple[Outcome, ...] = ()
    """An even sample of those with a suspicion."""
    sample: tuple[Outcome, ...] = ()
    """An even sample of all `done`."""
    failures: tuple[Failure, ...] = ()
    """In the order they happened; the first ones only where `failures_left_out` is above 0."""
    failures_left_out: int = 0

    @property
    def ok(self) -> bool:
        """True when the run came to its end and nothing failed."""
        counts = self.counts
        return self.state == "finished" and not counts.failed and not counts.conflicting
