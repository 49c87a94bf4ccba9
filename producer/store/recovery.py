"""Send again what is pending and has no message any more.

Any number of processes may ask; Redis lets one of them sweep at a time, and each interval once.
"""

import logging
import threading
from collections.abc import Collection, Iterator
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

log = logging.getLogger(__name__)

_SWEEP: Final = "cutwork:sweep"
_MOST: Final = 10_000
"""Single jobs looked at in one sweep."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """The sweep of one process.

    What a job's message is looked for is its age: after the visibility timeout a message that a
    dead worker held is back in the queue, so a job that is neither there nor held is lost.
    """

    app: Celery
    ledger: Ledger

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
        before = self.ledger.now() - self.visibility_timeout
        singles = self.ledger.pending_ids(before=before, most=_MOST)
        lost = self._missing(singles)
        found = self.ledger.pending_jobs([name for name in singles if name in lost])
        publish(self.app, found)
        # Those that cannot be read too, or they would be in the way of the others.
        self.ledger.touch_pending(singles)
        return len(found) + sum(self._sweep_run(run, before=before) for run in self._unfed())

    def _sweep_run(self, run: str, *, before: float) -> int:
        """Send a run's lost jobs again: its feeder is gone, or waits for somebody to start it."""
        jobs = {
            name: job
            for name, job in self.ledger.runs.jobs(run).items()
            if job.submitted_at <= before
        }
        lost = self._missing(jobs)
        now = self.ledger.now()
        again = [jobs[name].model_copy(update={"submitted_at": now}) for name in sorted(lost)]
        unanswered = self.ledger.runs.replace_jobs(run, again)
        publish(self.app, [job for job in again if job.id in unanswered])
        return len(unanswered)

    def _missing(self, job_ids: Collection[str]) -> set[str]:
        if not job_ids:
            return set()
        return find_lost(self.ledger.redis, job_ids, queues=Routes.from_app(self.app).all_lists())

    def _unfed(self) -> Iterator[str]:
        """Running runs that no process feeds: a feeder looks after its own jobs."""
        for record in self.ledger.runs.runs():
            if record.state == "running" and self.ledger.runs.feeder_host(record.id) is None:
                yield record.id
