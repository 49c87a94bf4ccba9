"""The feeder of a run: reads its plan, keeps a window of jobs in flight, waits for the outcomes.

A feeder holds no state that Redis does not have. After any failure it reads the run's cursor again,
sends lost jobs again and goes on from there; the next process does the same.
"""

import hashlib
import math
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import redis
from celery import Celery
from kombu.exceptions import KombuError

from producer.contract.formats import fit_options
from producer.contract.job import Job
from producer.contract.run import Failure, RunCounts, RunRecord, RunSpec
from producer.observability.events import NO_EVENTS, Events
from producer.store.publish import publish
from producer.store.recovery import resend_lost_jobs
from producer.store.routes import Routes
from producer.store.runs import Batch, RunLedger, UnknownRun
from producer.sync import trial
from producer.sync.circuit_breaker import CircuitBreaker
from producer.sync.feeder_lock import FeederLock, FeederRunning
from producer.sync.listing.objects import ListingFailed
from producer.sync.plan.known import mark_known
from producer.sync.plan.step import EXCLUSION_COUNTS, Plan, Step
from producer.sync.window import Window

_MAX_BATCH_STEPS: Final = 10_000
"""The number of steps after which the cursor moves even if none of them is sent."""
_STEPS_PER_LOCK_CHECK: Final = 100
"""The number of steps after which the lock is extended: each may cost a request to S3."""
_POLL_SECONDS: Final = 0.1
"""The time between two reads of the number of jobs in flight."""
_MAX_CONFLICTS: Final = 20
_MAX_LISTING_RETRIES: Final = 8
"""Retries of a listing while the cursor does not move: about five minutes."""
_NOTICE_SECONDS: Final = 60.0
"""The time after which a notice about the broker is repeated."""
_TRANSIENT_ERRORS: Final = (redis.ConnectionError, redis.TimeoutError, KombuError)
"""The errors of a broker that restarts or fails over; the feeder waits until it is back."""
_TRANSIENT_REPLIES: Final = ("OOM", "READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "LOADING")
"""The beginnings of error replies that may pass, such as that of a full broker."""


class _CursorMoved(Exception):
    """The run's cursor in Redis is not that of this feeder, which must plan again from there.

    Redis restarted and lost its last second of writes, or another feeder took over.
    """


@dataclass(kw_only=True)
class Feeder:
    """Feeds one run from this process; begins a new run only when there is something to send.

    The first group of fields never changes. The second is the progress, which other threads may
    read. The run's cursor is not a field: it is stored in Redis, and only `_send_steps` moves it.
    """

    spec: RunSpec
    plan: Plan
    app: Celery
    ledger: RunLedger
    window: int | None
    """The most jobs in flight; None for as many as keep every worker busy."""
    command: str
    """The command line, stored with the run."""
    tenant: str | None = None
    """The tenant whose queues the jobs are sent to."""
    events: Events = NO_EVENTS
    """Receives a notice when the feeder waits or sends lost jobs again."""
    trial_jobs: int | None = trial.TRIAL_JOBS
    """The most jobs sent until one outcome shows that not all fail; None for no such limit."""
    cancel_seconds: float = 30
    """The longest time without an outcome for which the jobs of a cancelled run are waited for."""
    probe_seconds: float = 10
    """The time between two probe jobs while the circuit breaker is open."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set by another thread, it ends the feeder between two batches; the run stays unfinished."""

    run: str | None = None
    """The run to resume; None until a new one begins."""
    planned: RunCounts = field(default_factory=RunCounts)
    """The counts of the plan so far while there is no run yet."""
    conflicts: list[Failure] = field(default_factory=list)
    """The first conflicting inputs of the plan while there is no run yet."""

    _lock: FeederLock | None = None
    _window: Window = field(init=False)
    _breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    _checked_at: float = 0
    """When lost jobs were last looked for, on the monotonic clock."""
    _listing_failures: int = 0
    """The number of failed listings since the cursor moved."""

    def __post_init__(self) -> None:
        self._window = Window(self.window)

    def feed(self) -> None:
        """Return when every input has an outcome, the run is cancelled, or `stopping` is set.

        Waits for S3 and for the broker. Raises `EveryJobFails` after it has cancelled a run whose
        first jobs show that all would fail, `FeederRunning` if another process feeds the run,
        `ListingFailed` or `ManifestError` if the inputs cannot be read, and `UnknownRun` if Redis
        has lost the run.
        """
        noticed_at = -_NOTICE_SECONDS
        try:
            while not self.stopping.is_set():
                try:
                    self._feed_from_cursor()
                except _CursorMoved:
                    continue
                except ListingFailed as error:
                    self._listing_failures += 1
                    if self.run is None or self._listing_failures > _MAX_LISTING_RETRIES:
                        raise
                    self.events.notice(f"waiting for S3: {error}")
                    self._wait(min(2**self._listing_failures, 60))
                except (*_TRANSIENT_ERRORS, redis.ResponseError) as error:
                    is_reply = isinstance(error, redis.ResponseError)
                    is_lasting = is_reply and not str(error).startswith(_TRANSIENT_REPLIES)
                    if self.run is None or is_lasting:
                        raise
                    if time.monotonic() - noticed_at > _NOTICE_SECONDS:
                        self.events.notice(f"waiting for the broker: {error}")
                        noticed_at = time.monotonic()
                    self.stopping.wait(1)
                else:
                    return
        except UnknownRun as error:
            raise UnknownRun(
                f"expected run {self.run} in Redis, found none; was Redis restarted without "
                "persistence? Run the command again: finished images are not processed again"
            ) from error
        finally:
            if self._lock:
                self._lock.release()
                self._lock = None

    def _feed_from_cursor(self) -> None:
        """Feed from the run's cursor to its end, to its cancellation, or until `stopping` is set.

        Raises `_CursorMoved` if Redis refuses a batch because the run's cursor is another one.
        """
        cursor = ""
        if self.run:
            self._lock = self._lock or FeederLock(self.ledger.server, self.run)
            self._extend_lock()
            cursor = self.ledger.cursor(self.run)
            self._resend_lost(self.run)
        with closing(self.plan(cursor)) as steps:
            self._send_steps(steps, cursor)
        self._wait_for_outcomes()

    def _send_steps(self, steps: Iterator[Step], cursor: str) -> None:
        """Send the jobs of the steps after `cursor`, and move the run's cursor with each batch."""
        batch = Batch(cursor=cursor)
        limit = self._remaining_limit()
        is_last = False
        while not is_last and (limit is None or limit > 0):
            room = self._wait_for_room()
            if not room:
                return
            is_last = self._fill_batch(batch, steps, min(room, limit or room))
            if not self.run:
                self.planned = RunCounts.model_validate(batch.counts)
                if not batch.jobs:
                    continue
                self._begin_run(batch)
            run = str(self.run)
            if not self.ledger.commit_batch(run, batch, before=cursor):
                if self._has_ended(run):
                    return
                raise _CursorMoved
            self._listing_failures = 0
            # If this process was suspended, another one may have taken over and sent these jobs.
            if self._lock:
                self._lock.extend(force=True)
            if batch.jobs:
                publish(self.app, batch.jobs)
            limit = limit if limit is None else limit - len(batch.jobs)
            cursor = batch.cursor
            batch = Batch(cursor=cursor)

    def _begin_run(self, batch: Batch) -> None:
        """Begin the run with its first batch, whose job ids now begin with the run's id."""
        run = self.ledger.begin(self.spec, command=self.command)
        self._lock = FeederLock(self.ledger.server, run)
        if self.ledger.cursor(run):
            raise FeederRunning(run, "began a moment ago in another process")
        self.run = run
        batch.jobs = [job.model_copy(update={"id": f"{run}.{job.id}"}) for job in batch.jobs]

    def _fill_batch(self, batch: Batch, steps: Iterator[Step], room: int) -> bool:
        """Add the next steps to a batch, with at most `room` jobs; return whether none is left."""
        chunk: list[Step] = []
        sends = 0
        for step in islice(steps, _MAX_BATCH_STEPS):
            chunk.append(step)
            sends += step.verdict == "send"
            if sends >= room:
                break
            if len(chunk) % _STEPS_PER_LOCK_CHECK == 0:
                self._extend_lock()
        for step in mark_known(chunk, self.spec, self.ledger.find_unreadable):
            if step.verdict == "send":
                batch.count("sent")
                batch.jobs.append(self._job(step))
            else:
                batch.count(step.verdict)
                if detail := EXCLUSION_COUNTS.get(step.reason):
                    batch.count(detail)
                if step.verdict == "conflicting":
                    failure = Failure(**_refs(step), code=step.reason, message=step.message)
                    batch.add_failure(failure)
                    if not self.run and len(self.conflicts) < _MAX_CONFLICTS:
                        self.conflicts.append(failure)
            batch.cursor = step.cursor
        batch.count("seen", len(chunk))
        return len(chunk) < _MAX_BATCH_STEPS and sends < room

    def _job(self, step: Step) -> Job:
        # The same input has the same id in every process that feeds the run.
        refs = f"{step.source} {step.image} {step.mask}"
        digest = hashlib.sha256(refs.encode()).hexdigest()[:24]
        job_id = f"{self.run}.{digest}" if self.run else digest
        options = fit_options(self.spec.options, image=step.image, mask=step.mask)
        return Job(id=job_id, **_refs(step), options=options, tenant=self.tenant)

    def _remaining_limit(self) -> int | None:
        if self.spec.limit is None or self.run is None:
            return self.spec.limit
        return self.spec.limit - self.ledger.summary(self.run).counts.sent

    def _wait_for_room(self) -> int:
        """Wait until jobs may be sent; return how many, or 0 if the run ended or must stop."""
        while self._extend_lock():
            in_flight = self.ledger.in_flight(self.run) if self.run else 0
            room = self._window.room(in_flight, is_queue_empty=self._is_queue_empty)
            if not self.run:
                return min(room, self.trial_jobs or room)
            if self._has_ended(self.run):
                return 0
            record = self.ledger.summary(self.run)
            self._require_hope(record)
            if self.trial_jobs and not trial.is_over(record):
                room = min(room, trial.jobs_left(record, self.trial_jobs))
            if self._breaker.update(record):
                self.events.notice(f"jobs only fail with {self._breaker.code}; sending probes")
            if self._breaker.code is None:
                if room > 0:
                    return room
            elif not in_flight:
                self._wait(self.probe_seconds)
                return 1
            self._resend_overdue(self.run)
            self.stopping.wait(_POLL_SECONDS)
        return 0

    def _is_queue_empty(self) -> bool:
        bulk_list = Routes.from_app(self.app).bulk_list(self.spec.options, self.tenant)
        return not self.ledger.server.llen(bulk_list)

    def _wait_for_outcomes(self) -> None:
        """Wait until every job that was sent has an outcome, then finish the run."""
        while self.run and self._extend_lock():
            if self._has_ended(self.run):
                self._wait_for_cancelled(self.run)
                return
            self._require_hope(self.ledger.summary(self.run))
            if not self.ledger.in_flight(self.run):
                self.ledger.end(self.run, "finished")
                return
            self._resend_overdue(self.run)
            self.stopping.wait(_POLL_SECONDS)

    def _require_hope(self, record: RunRecord) -> None:
        """Cancel the run and raise `EveryJobFails` if its first jobs show that all would fail."""
        if self.trial_jobs and (code := trial.shared_failure(record)):
            self.ledger.end(record.id, "cancelled")
            self._wait_for_cancelled(record.id)
            failures = self.ledger.failures(record.id, start=0)
            message = next((item.message for item in failures if item.code == code), "")
            raise trial.EveryJobFails(code, message, failed=record.counts.failed)

    def _wait_for_cancelled(self, run: str) -> None:
        """Wait while workers finish or cancel the jobs in flight, so that the report adds up.

        Ends when no job has had an outcome for `cancel_seconds`: no worker may be left.
        """
        left, changed = self.ledger.in_flight(run), time.monotonic()
        while left and time.monotonic() - changed < self.cancel_seconds and self._extend_lock():
            self.stopping.wait(_POLL_SECONDS)
            now_left = self.ledger.in_flight(run)
            if now_left != left:
                left, changed = now_left, time.monotonic()

    def _has_ended(self, run: str) -> bool:
        """Return whether the run was cancelled. Raises `UnknownRun` if Redis has lost it."""
        state = self.ledger.state(run)
        if state is None:
            raise UnknownRun(run)
        return state != "running"

    def _extend_lock(self) -> bool:
        """Extend the lock, if there is one; return False when it is time to stop."""
        if self._lock:
            self._lock.extend()
        return not self.stopping.is_set()

    def _wait(self, seconds: float) -> None:
        """Wait with the lock held, at most until `stopping` is set."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._extend_lock():
            self.stopping.wait(1)

    def _resend_overdue(self, run: str) -> None:
        """Send again, now and then, jobs lost for longer than the visibility timeout."""
        timeout = self.app.conf.broker_transport_options["visibility_timeout"]
        if time.monotonic() - self._checked_at > max(2, timeout / 4):
            self._resend_lost(run, before=time.time() - timeout)

    def _resend_lost(self, run: str, *, before: float = math.inf) -> None:
        """Send the lost jobs that were submitted up to `before` again."""
        self._checked_at = time.monotonic()
        if count := resend_lost_jobs(self.app, self.ledger, run, now=time.time(), before=before):
            self.events.notice(f"sent {count:,} lost jobs again")


def _refs(step: Step) -> dict[str, Any]:
    return {"source": step.source, "image": step.image, "mask": step.mask}
