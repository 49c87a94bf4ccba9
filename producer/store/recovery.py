"""Send again what is pending and has no message any more.

Any number of processes may ask; Redis lets one of them sweep at a time, and each interval once.
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
"""Single jobs looked at in one sweep."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """The sweep of one process.

    What a job's message is looked for is its age: after the visibility timeout a message that a
    dead worker held is back in the queue, so a job that is neither there nor held is lost.
    """

    app: Celery
    ledger: Ledger
    clock: Callable[[], float] | None = None
    """Returns the Unix time; by default the broker's."""

    @property
    def visibility_timeout(self) -> float:
        """Seconds after which what a dead worker held comes back."""
        return float(self.app.conf.broker_transport_options["visibility_timeout"])

    @property
    def interval(self) -> float:
        """Seconds between two sweeps, of all processes together."""
        return max(1.0, self.visibility_timeout / 4)

    def run(self, stopping: threading.Event, *, events: Events) -> None:
        """Sweep until `stopping` is set, and report each time how many jobs were sent again."""
        while not stopping.wait(self.interval / 2):
            try:
                again = self.recover()
            except (redis.RedisError, KombuError, OSError) as error:
                # A broker that is away is waited for; whoever else uses it says so louder.
                log.info("no sweep: %s", error)
                continue
            except Exception:  # whatever lies in Redis, the next sweep is not to be missing
                log.exception("a sweep ended half-way")
                continue
            events.jobs_resent(again)

    def recover(self) -> int:
        """How many jobs were sent again; 0 too when it is not this process's turn.

        Raises `redis.RedisError`, and kombu's errors as `publish` does. What was found and could
        not be sent is found by the next sweep.
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
