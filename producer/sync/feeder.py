"""Feed a run: plan → bounded window → queue, until every input has an outcome.

The feeder keeps nothing that Redis does not have. Whatever goes wrong, it starts again from the
run's cursor and sends once more what is nowhere any more; so does the next process after it.
"""

import hashlib
import math
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import redis
from celery import Celery
from kombu.exceptions import KombuError

from producer.contract.job import Job
from producer.contract.run import Failure, RunCounts, RunSpec
from producer.observability.events import NO_EVENTS, Events
from producer.store.publish import publish
from producer.store.recovery import resend_lost_jobs
from producer.store.routes import Routes
from producer.store.runs import Batch, RunLedger, UnknownRun
from producer.sync.circuit_breaker import CircuitBreaker
from producer.sync.feeder_lock import FeederLock, FeederRunning
from producer.sync.listing.objects import ListingFailed
from producer.sync.plan.known import mark_known
from producer.sync.plan.step import Plan, Step

_MAX_BATCH_JOBS: Final = 500
"""Jobs sent together at most."""
_MAX_BATCH_STEPS: Final = 10_000
"""Inputs after which the cursor moves, even if none of them is sent."""
_STEPS_PER_LOCK_CHECK: Final = 100
"""Inputs after which the lock is looked after: each may have been asked for singly."""
_INITIAL_WINDOW: Final = 2000
_MAX_WINDOW: Final = 64_000
_POLL_SECONDS: Final = 0.1
"""Seconds between looks at how many jobs are in flight."""
_CANCEL_SECONDS: Final = 10
_MAX_LISTING_RETRIES: Final = 8
"""Times a listing is tried again while it brings nothing: some five minutes."""
_MESSAGE_INTERVAL_SECONDS: Final = 60.0
_TRANSIENT_ERRORS: Final = (
    redis.ConnectionError,
    redis.TimeoutError,
    KombuError,
)
"""What a broker that restarts, fails over or is full answers; it is waited out."""
_TRANSIENT_REPLIES: Final = ("OOM", "READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "LOADING")


@dataclass(kw_only=True)
class Feeder:
    """Feeds one run from this process, and begins it when there is something to send."""

    spec: RunSpec
    plan: Plan
    app: Celery
    ledger: RunLedger
    window: int | None
    """Jobs in flight at most; None: as many as keep every worker busy."""
    command: str
    """What was typed, for whoever looks at the run later."""
    events: Events = NO_EVENTS
    """Receives a notice, in a sentence, of what the feeder waits for."""
    tenant: str | None = None
    """Whose queues its jobs wait in."""
    run: str | None = None
    """The run to take up again; None: a new one."""
    planned: RunCounts = field(default_factory=RunCounts)
    """What was compared without a run: with nothing to send there is none."""
    conflicts: list[Failure] = field(default_factory=list)
    """What was found so far that cannot be sent, likewise."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set from outside, it ends the feeding between two batches; the run stays unfinished."""
    probe_seconds: float = 10
    """While nothing succeeds: time until one more job is tried."""
    _breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    _window: int = _INITIAL_WINDOW
    _refused: str | None = None
    """The code that the breaker is open for."""
    _lock: FeederLock | None = None
    _checked: float = 0
    _listing_failures: int = 0
    """Of listings, since the cursor moved."""

    def feed(self) -> None:
        """Return when every input has an outcome, the run is cancelled, or `stopping` is set.

        Raises `FeederRunning` when another process feeds the run, `ListingFailed` or
        `ManifestError` when the inputs cannot be read, and `UnknownRun` when Redis has lost it.
        """
        said = -_MESSAGE_INTERVAL_SECONDS
        try:
            while not self.stopping.is_set():
                try:
                    if self._feed():
                        return
                except ListingFailed as error:
                    self._listing_failures += 1
                    if self.run is None or self._listing_failures > _MAX_LISTING_RETRIES:
                        raise
                    self.events.notice(f"waiting for S3: {error}")
                    self._wait(min(2**self._listing_failures, 60))
                except (*_TRANSIENT_ERRORS, redis.ResponseError) as error:
                    refused = isinstance(error, redis.ResponseError)
                    if self.run is None or (
                        refused and not str(error).startswith(_TRANSIENT_REPLIES)
                    ):
                        raise
                    if time.monotonic() - said > _MESSAGE_INTERVAL_SECONDS:
                        self.events.notice(f"waiting for the broker: {error}")
                        said = time.monotonic()
                    self.stopping.wait(1)
        except UnknownRun as error:
            raise UnknownRun(
                f"Redis has forgotten run {self.run}; was it restarted without persistence? Run "
                "the command again: what is done already is not done twice"
            ) from error
        finally:
            if self._lock:
                self._lock.release()
                self._lock = None

    def _feed(self) -> bool:
        """Plan and send from the cursor on; True at the end, False when it must be read again."""
        batch = Batch(cursor="")
        if self.run:
            self._lock = self._lock or FeederLock(self.ledger.server, self.run)
            self._extend_lock()
            batch.cursor = self.ledger.cursor(self.run)
            self._resend_lost(self.run)
        with closing(self.plan(batch.cursor)) as steps:
            sent = self._send_all(batch, steps)
        return sent and self._drain()

    def _send_all(self, batch: Batch, steps: Iterator[Step]) -> bool:
        """Send the steps that are left; False when the cursor must be read again."""
        before = batch.cursor
        left = self._remaining_limit()
        finished = False
        while not finished and (left is None or left > 0):
            room = self._wait_for_room()
            if not room:
                return True
            finished = self._fill_batch(batch, steps, min(room, left or room))
            if not self.run:
                self.planned = RunCounts.model_validate(batch.counts)
                self.conflicts = batch.failures
                if not batch.jobs:
                    continue
                batch = self._begin_run(batch)
            run = str(self.run)
            if not self.ledger.commit_batch(run, batch, before=before):
                return self._has_ended(run)
            self._listing_failures = 0
            # A process that slept since may no longer be the one that sends.
            if self._lock:
                self._lock.extend(force=True)
            if batch.jobs:
                publish(self.app, batch.jobs)
            left = left if left is None else left - len(batch.jobs)
            before = batch.cursor
            batch = Batch(cursor=before)
        return True

    def _begin_run(self, batch: Batch) -> Batch:
        """Begin the run; its id is part of the ids of the jobs it begins with."""
        run = self.ledger.begin(self.spec, command=self.command)
        self._lock = FeederLock(self.ledger.server, run)
        if self.ledger.cursor(run):
            raise FeederRunning(run, "began a moment ago in another process")
        self.run = run
        batch.jobs = [job.model_copy(update={"id": f"{run}.{job.id}"}) for job in batch.jobs]
        return batch

    def _fill_batch(self, batch: Batch, steps: Iterator[Step], room: int) -> bool:
        """Put the next steps into a batch, as many as there is room for; True after the last."""
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
                if step.verdict == "conflicting":
                    batch.failures.append(_failure(step))
            batch.cursor = step.cursor
        batch.count("seen", len(chunk))
        return len(chunk) < _MAX_BATCH_STEPS and sends < room

    def _job(self, step: Step) -> Job:
        places = f"{step.source} {step.image} {step.mask}"
        name = hashlib.sha256(places.encode()).hexdigest()[:24]
        return Job.model_validate(
            {
                "id": f"{self.run}.{name}" if self.run else name,
                "source": step.source,
                "image": step.image,
                "mask": step.mask,
                "options": self.spec.options,
                "tenant": self.tenant,
            }
        )

    def _remaining_limit(self) -> int | None:
        if self.spec.limit is None or self.run is None:
            return self.spec.limit
        return self.spec.limit - self.ledger.summary(self.run).counts.sent

    def _extend_lock(self) -> bool:
        """Go on being the feeder; False when it is time to stop."""
        if self._lock:
            self._lock.extend()
        return not self.stopping.is_set()

    def _wait(self, seconds: float) -> None:
        """Wait, as the run's feeder, unless it is time to stop."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._extend_lock():
            self.stopping.wait(1)

    def _wait_for_room(self) -> int:
        """How many jobs may be sent now, at least a good part of a batch; 0 to stop."""
        if not self.run:
            return (
                0
                if self.stopping.is_set()
                else min(self.window or _INITIAL_WINDOW, _MAX_BATCH_JOBS)
            )
        while self._extend_lock():
            in_flight = self.ledger.in_flight(self.run)
            window = self.window or self._grown(in_flight)
            room = window - in_flight
            if self._has_ended(self.run):
                return 0
            code = self._breaker.open_code(self.ledger.summary(self.run))
            if code and code != self._refused:
                self.events.notice(f"nothing but {code} comes back: sending one now and then")
            self._refused = code
            if code:
                if not in_flight:
                    self._wait(self.probe_seconds)
                    return 1
            elif room >= max(1, min(_MAX_BATCH_JOBS, window // 4)):
                return min(room, _MAX_BATCH_JOBS)
            self._send_overdue(self.run)
            self.stopping.wait(_POLL_SECONDS)
        return 0

    def _grown(self, in_flight: int) -> int:
        """The window, doubled where workers hold nearly all of it and none is waiting for them."""
        waiting = Routes.from_app(self.app).bulk_list(self.spec.options, self.tenant)
        if in_flight > self._window // 2 and not self.ledger.server.llen(waiting):
            self._window = min(2 * self._window, _MAX_WINDOW)
        return self._window

    def _drain(self) -> bool:
        """Wait for the outcomes of everything that was sent."""
        while self.run and self._extend_lock():
            if self._has_ended(self.run):
                self._wait_for_cancelled(self.run)
                return True
            if not self.ledger.in_flight(self.run):
                self.ledger.end(self.run, "finished")
                return True
            self._send_overdue(self.run)
            self.stopping.wait(_POLL_SECONDS)
        return True

    def _wait_for_cancelled(self, run: str) -> None:
        """Let the workers answer what is in the queue yet, so that the report adds up."""
        deadline = time.monotonic() + _CANCEL_SECONDS
        while time.monotonic() < deadline and self._extend_lock() and self.ledger.in_flight(run):
            self.stopping.wait(_POLL_SECONDS)

    def _has_ended(self, run: str) -> bool:
        """Whether somebody cancelled the run."""
        state = self.ledger.state(run)
        if state is None:
            raise UnknownRun(run)
        return state != "running"

    def _send_overdue(self, run: str) -> None:
        """Now and then, send again what no worker answered although its time is over."""
        timeout = self.app.conf.broker_transport_options["visibility_timeout"]
        if time.monotonic() - self._checked > max(2, timeout / 4):
            self._resend_lost(run, before=time.time() - timeout)

    def _resend_lost(self, run: str, *, before: float = math.inf) -> None:
        """Send the lost jobs that were submitted up to `before` again."""
        self._checked = time.monotonic()
        count = resend_lost_jobs(self.app, self.ledger, run, now=time.time(), before=before)
        if count:
            self.events.notice(f"sent {count:,} lost jobs again")


def _failure(step: Step) -> Failure:
    return Failure(
        source=step.source,
        image=step.image,
        mask=step.mask,
        code=step.reason,
        message=step.message,
    )
