"""Recovery: find pending jobs whose messages were lost, and send them again.

A worker that is killed between taking a message from its list and storing it as unacknowledged
loses the message, and no setting of kombu prevents that:
https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html#caveats
Any number of processes may try to recover it; a key in Redis lets one of them do it per interval.
"""

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis
from celery import Celery
from kombu.exceptions import KombuError

from producer.observability.events import Events
from producer.store.ledger import Ledger
from producer.store.publish import publish
from producer.store.routes import Routes
from producer.store.runs import RunLedger

log = logging.getLogger(__name__)

_SWEEP: Final = "cutwork:sweep"
_MAX_JOBS: Final = 10_000
"""Single jobs checked in one pass."""
_CHUNK: Final = 200
"""Messages per read: some hundreds of kilobytes."""
_RECHECK_SECONDS: Final = 1.0
"""Time between two checks: a message that moves from a list to a worker is in neither place."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """The recovery of lost messages by one process.

    Only jobs older than the visibility timeout are checked: by then the message of a dead worker
    has returned to its queue, so a job that is neither queued nor held by a worker is lost.
    """

    app: Celery
    ledger: Ledger
    clock: Callable[[], float] | None = None
    """Returns the Unix time; by default the broker's."""

    @property
    def visibility_timeout(self) -> float:
        """Seconds after which the messages of a dead worker return to their queues."""
        return float(self.app.conf.broker_transport_options["visibility_timeout"])

    @property
    def interval(self) -> float:
        """Seconds between two passes, of all processes together."""
        return max(1.0, self.visibility_timeout / 4)

    def run(self, stopping: threading.Event, *, events: Events) -> None:
        """Recover lost messages until `stopping` is set; report each pass to `events`."""
        while not stopping.wait(self.interval / 2):
            try:
                count = self.recover()
            except (redis.RedisError, KombuError, OSError) as error:
                # Wait for the broker; other users of the broker report the outage more visibly.
                log.info("lost messages are not looked for: %s", error)
                continue
            except Exception:  # Unexpected values in Redis must not end later passes.
                log.exception("the recovery of lost messages failed; it will run again")
                continue
            events.jobs_resent(count)

    def recover(self) -> int:
        """Send lost jobs again and return their number; 0 also if another process did this pass.

        Raises `redis.RedisError`, and kombu's errors as `publish` does; the next pass then finds
        the same jobs.
        """
        server = self.ledger.redis
        if not server.set(_SWEEP, "1", nx=True, px=round(self.interval * 1000)):
            return 0
        now = (self.clock or self.ledger.now)()
        before = now - self.visibility_timeout
        singles = self.ledger.pending_ids(before=before, limit=_MAX_JOBS)
        lost = _find_lost(server, singles, queues=Routes.from_app(self.app).all_lists())
        jobs = self.ledger.pending_jobs([job_id for job_id in singles if job_id in lost])
        publish(self.app, jobs)
        # Unreadable jobs are touched as well, or they would fill every later pass.
        self.ledger.touch_pending(singles)
        runs = self.ledger.runs
        return len(jobs) + sum(
            resend_lost_jobs(self.app, runs, record.id, now=now, before=before)
            for record in runs.runs()
            # A feeder resends the jobs of its run.
            if record.state == "running" and runs.feeder_host(record.id) is None
        )


def resend_lost_jobs(
    app: Celery, runs: RunLedger, run: str, *, now: float, before: float = math.inf
) -> int:
    """Send the lost jobs of a run again, of those submitted up to `before`; return their number.

    `now` is the Unix time with which they count as submitted. Raises as `publish` does.
    """
    jobs = {job_id: job for job_id, job in runs.jobs(run).items() if job.submitted_at <= before}
    lost = _find_lost(runs.server, jobs, queues=Routes.from_app(app).all_lists())
    resent = [jobs[job_id].model_copy(update={"submitted_at": now}) for job_id in lost]
    # A job whose outcome was recorded meanwhile is not sent.
    pending = runs.replace_jobs(run, resent)
    publish(app, [job for job in resent if job.id in pending])
    return len(pending)


def _find_lost(server: redis.Redis, job_ids: Collection[str], *, queues: Sequence[str]) -> set[str]:
    """Return the jobs without a message, neither in the lists `queues` nor unacknowledged.

    Takes a second if any job seems lost, as these are checked twice. Raises `redis.RedisError`.
    """
    lost = set(job_ids)
    for delay in (0, _RECHECK_SECONDS):
        if lost:
            time.sleep(delay)
            _remove_present(lost, server, queues)
    return lost


def _remove_present(job_ids: set[str], server: redis.Redis, queues: Sequence[str]) -> None:
    for queued_ids in _queued_ids(server, queues):
        job_ids -= queued_ids
        if not job_ids:
            return
    # Read after the lists: messages move from the lists to this hash, and return only after the
    # visibility timeout.
    for _, entry in server.hscan_iter("unacked", count=_CHUNK):
        job_ids.discard(_job_id(entry, unacknowledged=True))


def _queued_ids(server: redis.Redis, queues: Sequence[str]) -> Iterator[set[str]]:
    for queue in queues:
        start = 0
        # Read from the end where messages are pushed: a push shifts messages towards the unread
        # part, and a message popped at the other end is found among the unacknowledged ones.
        while messages := server.lrange(queue, start, start + _CHUNK - 1):
            chunk: Any = messages
            yield {_job_id(message, unacknowledged=False) for message in chunk}
            start += _CHUNK


def _job_id(entry: str, *, unacknowledged: bool) -> str:
    """Return the job's id in a kombu message; empty if the entry is not a message."""
    try:
        value: Any = json.loads(entry)
        return str((value[0] if unacknowledged else value)["headers"]["id"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return ""
