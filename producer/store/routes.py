"""The queue of each job, and the Redis lists of each queue; the table is in `celeryconfig.py`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Self

from celery import Celery

from producer.contract.job import BULK_PRIORITY, QUEUE, Job
from producer.contract.options import Options

LARGE: Final = "large"
"""The class of jobs whose images were too large for the first worker."""


@dataclass(frozen=True, kw_only=True)
class Routes:
    """The queues, and the rules by which jobs are sent to them."""

    requirements: Mapping[str, Collection[str]]
    """By queue: the capabilities that a worker needs to consume from it."""
    known_queues: Collection[str]
    """These queues, and those of classes that have no queue here but may have one elsewhere."""
    priorities: Collection[int]
    """The priorities that kombu distinguishes: each has a list in Redis."""
    separator: str

    @classmethod
    def from_app(cls, app: Celery) -> Self:
        """Return the routes of an app's settings."""
        options = app.conf.broker_transport_options
        return cls(
            requirements=app.conf.job_queues,
            known_queues=app.conf.known_queues,
            priorities=options["priority_steps"],
            separator=options["sep"],
        )

    def queue_for(self, job: Job) -> str:
        """Return the queue of a job; a class or tenant without its own queue shares the default."""
        return self._queue(job.options, job.tenant, bulk=job.run is not None)

    def larger_queue(self, job: Job) -> str | None:
        """Return the queue for jobs too large for a worker, None if there is none."""
        names = self._names([LARGE], job.tenant)
        return next((name for name in names if name in self.requirements), None)

    def all_lists(self) -> list[str]:
        """Return all lists in Redis that a job may wait in, whatever process sent it."""
        return [
            self._list(name, priority) for name in self.known_queues for priority in self.priorities
        ]

    def lists_by_queue(self) -> dict[str, dict[int, str]]:
        """Return the lists of each queue, by priority."""
        return {
            name: {priority: self._list(name, priority) for priority in self.priorities}
            for name in self.requirements
        }

    def bulk_list(self, options: Options, tenant: str | None) -> str:
        """Return the list that a run's jobs with these options wait in."""
        return self._list(self.bulk_queue(options, tenant), BULK_PRIORITY)

    def bulk_queue(self, options: Options, tenant: str | None) -> str:
        """Return the queue of a run's jobs with these options."""
        return self._queue(options, tenant, bulk=True)

    def _queue(self, options: Options, tenant: str | None, *, bulk: bool) -> str:
        gpu = options.device_mode == "require_gpu"
        classes = ["gpu-bulk"] * (gpu and bulk) + ["gpu"] * gpu + ["bulk"] * bulk + ["default"]
        return next(name for name in self._names(classes, tenant) if name in self.requirements)

    def _list(self, queue: str, priority: int) -> str:
        return f"{queue}{self.separator}{priority}" if priority else queue

    @staticmethod
    def _names(classes: Collection[str], tenant: str | None) -> list[str]:
        """Return queue names by preference; the class takes precedence over the tenant."""
        prefix = QUEUE.partition(".")[0]
        suffixes = [f".{tenant}", ""] if tenant else [""]
        return [f"{prefix}.{name}{suffix}" for name in classes for suffix in suffixes]
