"""Runs of `cutwork sync` in Redis: each run's position, its jobs in flight, and their outcomes.

Everything about a run is stored here, so any process can resume, follow or cancel it. Values that
several processes write at once are written by scripts, which Redis runs atomically:

- `commit_batch.lua` moves the cursor and stores the jobs about to be sent, together or not at all.
  A feeder that Redis no longer agrees with (a restart lost its last second, another feeder took
  over) is refused, and starts again from the cursor: every input is planned exactly once.
- `record_outcome.lua` counts an outcome only while its job has none, so a job is counted once.

A run's keys stay small however many images it has: the stored jobs are those in flight, and the
lists are bounded. Keys grow only with time, by two numbers a minute and one per new worker.
"""

import json
import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import redis

from producer.contract.errors import CutworkError
from producer.contract.job import Job, run_of_job_id
from producer.contract.outcome import Outcome
from producer.contract.run import Failure, RunRecord, RunSpec, RunState
from producer.store.deliveries import delivery_key
from producer.store.run_fields import build_minutes, build_record, outcome_figures
from producer.store.signed_jobs import decode_jobs, encode_job
from producer.store.unreadable_run import UnreadableRun, is_of_another_type, reading_run

log = logging.getLogger(__name__)

_RUNS: Final = "cutwork:runs"
_UNREADABLE: Final = "cutwork:unreadable"
_EXPIRY_SECONDS: Final = 30 * 86_400
"""How long a run is stored after its last change."""
_UNREADABLE_SECONDS: Final = 180 * 86_400
_LIMITS: Final = {
    "failures": 50_000,
    "slowest": 24,
    "suspicious": 48,
    "sample": 24,
    "unreadable": 200_000,
}
PAGE_FAILURES: Final = 1000
"""Failures that are read at a time: each may have a message of 2 KiB."""
_REPORT: Final = "report_due"
_RANKED: Final = ("slowest", "suspicious", "sample")
_PARTS: Final = ("jobs", "failures", *_RANKED, "minutes")


class UnknownRun(CutworkError, LookupError):
    """No run has this id, or its record has expired or was lost; `cutwork runs` lists the runs."""

    code = "unknown_run"


@dataclass(kw_only=True)
class Batch:
    """The part of a plan that a feeder commits atomically."""

    cursor: str
    """The position in the plan after the batch: the last source's key or line number."""
    counts: dict[str, int] = field(default_factory=dict)
    """What the batch adds to each field of `RunCounts`."""
    jobs: list[Job] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    """The number of failures by code."""
    failures: list[str] = field(default_factory=list)
    """The first failures as JSON, as many as a run stores."""

    def count(self, name: str, amount: int = 1) -> None:
        """Add `amount` to one of the counts."""
        self.counts[name] = self.counts.get(name, 0) + amount

    def add_failure(self, failure: Failure) -> None:
        """Count a failure, and keep it unless the batch has as many as a run stores."""
        self.codes[failure.code] = self.codes.get(failure.code, 0) + 1
        if len(self.failures) < _LIMITS["failures"]:
            self.failures.append(failure.model_dump_json(exclude_none=True))


class RunLedger:
    """The runs in one Redis database. Thread-safe.

    Every method raises `redis.RedisError` when the server stays unreachable through the retries.
    Methods that read the record of a run raise `UnknownRun` if there is none, and `UnreadableRun`
    if this release cannot read it.
    """

    def __init__(self, server: redis.Redis, *, signed: bool = False) -> None:
        """`server` decodes responses and is closed by the caller; `signed`: see `Ledger`."""
        self.server = server
        self.signed = signed
        folder = Path(__file__).parent / "scripts"
        self._commit_batch = server.register_script((folder / "commit_batch.lua").read_text())
        self._replace_jobs = server.register_script((folder / "replace_jobs.lua").read_text())
        self._record_outcome = server.register_script((folder / "record_outcome.lua").read_text())

    def begin(self, spec: RunSpec, *, command: str) -> str:
        """Begin a run and return its id, or that of a running one with the same specification."""
        now = time.time()
        run = time.strftime("%Y%m%d-%H%M%S-", time.gmtime(now)) + secrets.token_hex(3)
        facts = {"state": "running", "created_at": now, "command": command}
        key = _sync_key(spec)

        def write(pipe: Any) -> Any:
            earlier = pipe.get(key)
            if earlier and pipe.hget(_key(earlier), "state") == "running":
                return str(earlier)
            pipe.multi()
            pipe.hset(_key(run), mapping=facts | {"spec": spec.model_dump_json()})
            pipe.zadd(_RUNS, {run: now})
            pipe.zremrangebyscore(_RUNS, 0, now - 12 * _EXPIRY_SECONDS)
            pipe.set(key, run)
            pipe.expire(_key(run), _EXPIRY_SECONDS)
            pipe.expire(key, _EXPIRY_SECONDS)
            return run

        return str(self.server.transaction(write, key, value_from_callable=True))

    def find_unfinished(self, spec: RunSpec) -> str | None:
        """Return the id of the running run with this specification, None if there is none."""
        run: Any = self.server.get(_sync_key(spec))
        return str(run) if run and self.state(run) == "running" else None

    def spec(self, run: str) -> RunSpec:
        """Return the specification of a run."""
        facts = self._facts(run)
        with reading_run(run):
            return RunSpec.model_validate_json(facts["spec"])

    def count_resumption(self, run: str) -> None:
        """Count that a run was resumed."""
        self._facts(run)
        self.server.hincrby(_key(run), "resumed", 1)

    def set_total(self, run: str, total: int) -> None:
        """Store how many jobs the whole run will send; do nothing if the run does not exist."""

        def write(pipe: Any) -> None:
            if pipe.hexists(_key(run), "state"):
                pipe.multi()
                pipe.hset(_key(run), "total", total)

        self.server.transaction(write, _key(run))

    def feeder_host(self, run: str) -> str | None:
        """Return the host whose process feeds the run now, None if no process does."""
        try:
            holder: Any = self.server.get(feeder_key(run))
        except redis.ResponseError as error:
            if not is_of_another_type(error):
                raise
            log.warning("the feeder of run %s cannot be read: %s", run, error)
            return None
        return str(holder).partition("/")[0] if holder else None

    def cursor(self, run: str) -> str:
        """Return the position in the plan of a run; empty at its start."""
        return str(self._facts(run).get("cursor", ""))

    def position(self, run: str) -> tuple[str, int]:
        """Return the cursor, and the number of jobs sent up to it."""
        facts = self._facts(run)
        return facts.get("cursor", ""), int(facts.get("count:sent", 0))

    def commit_batch(self, run: str, batch: Batch, *, before: str) -> bool:
        """Store a batch; return False if the run has another cursor than `before`, or has ended."""
        message = {
            "counts": batch.counts,
            "jobs": {job.id: encode_job(job, signed=self.signed) for job in batch.jobs},
            "codes": batch.codes,
            "failures": batch.failures,
        }
        keys = [_key(run), _key(run, "jobs"), _key(run, "failures")]
        limit, text = _LIMITS["failures"], json.dumps(message)
        arguments: list[Any] = [before, batch.cursor, limit, text, _EXPIRY_SECONDS]
        return bool(self._commit_batch(keys=keys, args=arguments))

    def in_flight(self, run: str) -> int:
        """Return the number of a run's jobs that were sent and have no outcome yet."""
        return int(self.server.hlen(_key(run, "jobs")))

    def jobs(self, run: str) -> dict[str, Job]:
        """Return these jobs by id, except unreadable ones, which the log names."""
        try:
            texts: Any = self.server.hgetall(_key(run, "jobs"))
        except redis.ResponseError as error:
            if not is_of_another_type(error):
                raise
            log.warning("the jobs of run %s cannot be read: %s", run, error)
            return {}
        return decode_jobs(texts, signed=self.signed)

    def replace_jobs(self, run: str, jobs: Sequence[Job]) -> set[str]:
        """Replace the texts of jobs, before they are sent again; return the ids still in flight."""
        pairs = [item for job in jobs for item in (job.id, encode_job(job, signed=self.signed))]
        return set(self._replace_jobs(keys=[_key(run, "jobs")], args=pairs)) if pairs else set()

    def record_outcome(self, outcome: Outcome) -> bool:
        """Count the outcome of a run's job; return False if the job is not in flight."""
        run = run_of_job_id(outcome.job_id) or ""
        facts = outcome_figures(outcome) | {"most": _LIMITS, "unreadable_ttl": _UNREADABLE_SECONDS}
        keys = [_key(run), *(_key(run, part) for part in _PARTS), _UNREADABLE]
        keys.append(delivery_key(outcome.job_id))
        text = outcome.model_dump_json(exclude_none=True)
        return bool(self._record_outcome(keys=keys, args=[outcome.job_id, text, json.dumps(facts)]))

    def find_unreadable(self, sources: Mapping[str, str]) -> set[str]:
        """Return the sources (`s3://…` to ETag) that were unreadable and have not changed."""
        if not sources:
            return set()
        unreadable_etags: Any = self.server.hmget(_UNREADABLE, list(sources))
        pairs = zip(sources.items(), unreadable_etags, strict=True)
        return {source for (source, etag), unreadable in pairs if unreadable == etag}

    def is_cancelled(self, run: str) -> bool:
        """Return whether a run was cancelled, so that its queued jobs are not to be processed.

        So is a run whose key another program replaced: no outcome of it can be counted.
        """
        try:
            return self.state(run) == "cancelled"
        except redis.ResponseError as error:
            if not is_of_another_type(error):
                raise
            log.warning("run %s counts as cancelled, because its key is unreadable: %s", run, error)
            return True

    def state(self, run: str) -> str | None:
        """Return the state of a run, None if the run does not exist."""
        state: Any = self.server.hget(_key(run), "state")
        return state and str(state)

    def end(self, run: str, state: RunState) -> bool:
        """Set the final state, `finished` or `cancelled`; return False if it was set before."""
        key = _key(run)
        # A newer release's specification has another digest: its key is then left to expire.
        sync = _sync_key(self.summary(run).spec)

        def write(pipe: Any) -> Any:
            if pipe.hget(key, "state") != "running":
                return False
            latest = pipe.get(sync)
            pipe.multi()
            pipe.hset(key, mapping={"state": state, "finished_at": time.time()})
            if latest == run:
                pipe.delete(sync)
            for name in (key, *(_key(run, part) for part in _PARTS)):
                pipe.expire(name, _EXPIRY_SECONDS)
            return True

        return bool(self.server.transaction(write, key, sync, value_from_callable=True))

    def expect_report(self, run: str, place: str | None) -> None:
        """Store where the report of a run is to be written once it has ended; None: it is written.

        The next command of the same run then knows that an earlier process did not get to it.
        """
        if place is None:
            self.server.hdel(_key(run), _REPORT)
            return

        def write(pipe: Any) -> None:
            if pipe.hexists(_key(run), "state"):
                pipe.multi()
                pipe.hset(_key(run), _REPORT, place)

        self.server.transaction(write, _key(run))

    def record(self, run: str) -> RunRecord:
        """Return what a report needs, with the first 1,000 failures; `failures` reads all."""
        facts = self._facts(run)
        with reading_run(run):
            with self.server.pipeline(transaction=True) as pipe:
                pipe.lrange(_key(run, "failures"), 0, PAGE_FAILURES - 1)
                for part in _RANKED:
                    pipe.zrange(_key(run, part), 0, -1, desc=True)
                pipe.hgetall(_key(run, "minutes"))
                failures, *ranked, minutes = pipe.execute()
            record = build_record(run, facts)
            lists: dict[str, object] = {
                part: tuple(map(Outcome.model_validate_json, texts))
                for part, texts in zip(_RANKED, ranked, strict=True)
            }
            lists["failures"] = tuple(map(_failure, failures))
            lists["failures_left_out"] = sum(record.codes.values()) - len(failures)
            return record.model_copy(update=lists | {"minutes": build_minutes(minutes)})

    def summary(self, run: str) -> RunRecord:
        """Return the record without its lists: one small read."""
        facts = self._facts(run)
        with reading_run(run):
            return build_record(run, facts)

    def failures(self, run: str, *, start: int) -> list[Failure]:
        """Return up to 1,000 failures from number `start` on, counted from 0."""
        with reading_run(run):
            end = start + PAGE_FAILURES - 1
            texts: Any = self.server.lrange(_key(run, "failures"), start, end)
            return [_failure(text) for text in texts]

    def all_failures(self, run: str) -> Iterator[Failure]:
        """Yield the stored failures of a run, some at a time in memory."""
        start = 0
        while page := self.failures(run, start=start):
            yield from page
            start += len(page)

    def runs(self) -> list[RunRecord]:
        """Return the stored runs without their lists, latest first.

        Unreadable runs are left out and named in the log.
        """
        ids: Any = self.server.zrange(_RUNS, 0, -1, desc=True)
        with self.server.pipeline(transaction=False) as pipe:
            for run in ids:
                pipe.hgetall(_key(run))
            replies = pipe.execute(raise_on_error=False)
        records = []
        for run, facts in zip(ids, replies, strict=True):
            try:
                with reading_run(run):
                    if isinstance(facts, redis.ResponseError):
                        raise facts
                    if "state" in facts:
                        records.append(build_record(run, facts))
            except UnreadableRun as error:
                log.warning("left out: %s", error)
        return records

    def count_pending(self) -> int:
        """Return the number of pending jobs of all running runs; the log names unreadable runs."""
        jobs = 0
        for record in self.runs():
            try:
                with reading_run(record.id):
                    jobs += self.in_flight(record.id) if record.state == "running" else 0
            except UnreadableRun as error:
                log.warning("left out: %s", error)
        return jobs

    def _facts(self, run: str) -> dict[str, str]:
        with reading_run(run):
            facts: Any = self.server.hgetall(_key(run))
        if "state" not in facts:
            raise UnknownRun(f"expected the id of a run, found {run!r}: `cutwork runs` lists them")
        return dict(facts)


def run_key(run: str) -> str:
    """Return the key of a run's facts."""
    return _key(run)


def jobs_key(run: str) -> str:
    """Return the key of a run's jobs in flight."""
    return _key(run, "jobs")


def feeder_key(run: str) -> str:
    """Return the key of the lock that the process feeding a run holds."""
    return _key(run, "feeder")


def _failure(text: str) -> Failure:
    return Failure.model_validate_json(text, extra="ignore")


def _key(run: str, part: str = "") -> str:
    return f"cutwork:run:{run}" + (f":{part}" if part else "")


def _sync_key(spec: RunSpec) -> str:
    return f"cutwork:sync:{spec.digest()}"
