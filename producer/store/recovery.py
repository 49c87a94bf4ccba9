"""Recovery: send pending jobs again whose messages were lost.

Any number of processes may try; a key in Redis lets one of them do it per interval.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import redis
from celery import Celery
from kombu.exceptions import KombuError

from producer.observability.events import Events
from producer.store.ledger import Ledger
from producer.store.lost_messages import find_lost
from producer.store.publish import publish
from producer.store.routes import Routes
from producer.store.runs import RunLedger

log = logging.getLogger(__name__)

_SWEEP: Final = "cutwork:sweep"
_MAX_JOBS: Final = 10_000
"""Single jobs checked in one pass."""


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
        lost = find_lost(server, singles, queues=Routes.from_app(self.app).all_lists())
        jobs = self.ledger.pending_jobs([job_id for job_id in singles if job_id in lost])
        publish(self.app, jobs)
        # Unreadable jobs are touched as well, or they would fill every later pass.
        self.ledger.touch_pending(singles)
        return len(jobs) + sum(
            resend_lost_jobs(self.app, self.ledger.runs, run, now=now, before=before)
            for run in self._runs_without_feeder()
        )

    def _runs_without_feeder(self) -> Iterator[str]:
        """Yield the running runs that no process feeds; a feeder resends the jobs of its run."""
        for record in self.ledger.runs.runs():
            if record.state == "running" and self.ledger.runs.feeder_host(record.id) is None:
                yield record.id


def resend_lost_jobs(
    app: Celery, runs: RunLedger, run: str, *, now: float, before: float = math.inf
) -> int:
    """Send the lost jobs of a run again, of those submitted up to `before`; return their number.

    `now` is the Unix time with which they count as submitted. Raises as `publish` does.
    """
    jobs = {job_id: job for job_id, job in runs.jobs(run).items() if job.submitted_at <= before}
    lost = find_lost(runs.server, jobs, queues=Routes.from_app(app).all_lists())
    resent = [jobs[job_id].model_copy(update={"submitted_at": now}) for job_id in lost]
    # A job whose outcome was recorded meanwhile is not sent.
    pending = runs.replace_jobs(run, resent)
    publish(app, [job for job in resent if job.id in pending])
    return len(pending)
