"""Which queue a job waits in, and in which lists of Redis; the table is in `celeryconfig.py`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Self

from celery import Celery

from producer.contract.job import BULK_PRIORITY, QUEUE, Job
from producer.contract.options import Options

LARGE: Final = "large"
"""The class of images that were too large for the worker that had them first."""


@dataclass(frozen=True, kw_only=True)
class Routes:
    """The queues there are, and how jobs are given to them."""

    requirements: Mapping[str, Collection[str]]
    """Queues by name: what a worker must be able to do that takes from it."""
    known_queues: Collection[str]
    """Those, and the queues of classes that are not set apart here, and may be elsewhere."""
    priorities: Collection[int]
    """The priorities that kombu tells apart: each has a list in Redis."""
    separator: str

    @classmethod
    def from_app(cls, app: Celery) -> Self:
        """Those of an app's settings."""
        options = app.conf.broker_transport_options
        return cls(
            requirements=app.conf.job_queues,
            known_queues=app.conf.known_queues,
            priorities=options["priority_steps"],
            separator=options["sep"],
        )

    def queue_for(self, job: Job) -> str:
        """The queue of a job; where its class or tenant has none of its own, that of the others."""
        return self._queue(job.options, job.tenant, bulk=job.run is not None)

    def larger_queue(self, job: Job) -> str | None:
        """The queue of a job whose image was too large for a worker; None: there is none."""
        return next(
            (name for name in self._names([LARGE], job.tenant) if name in self.requirements), None
        )

    def all_lists(self) -> list[str]:
        """All lists in Redis that a job may wait in, whoever sent it."""
        return [self._list(name, step) for name in self.known_queues for step in self.priorities]

    def lists_by_queue(self) -> dict[str, dict[int, str]]:
        """The lists that make up each queue, by priority."""
        return {
            name: {step: self._list(name, step) for step in self.priorities}
            for name in self.requirements
        }

    def bulk_list(self, options: Options, tenant: str | None) -> str:
        """The one of them that the jobs of a run wait in."""
        return self._list(self._queue(options, tenant, bulk=True), BULK_PRIORITY)

    def _queue(self, options: Options, tenant: str | None, *, bulk: bool) -> str:
        gpu = options.device_mode == "require_gpu"
        wanted = ["gpu-bulk"] * (gpu and bulk) + ["gpu"] * gpu + ["bulk"] * bulk + ["default"]
        return next(name for name in self._names(wanted, tenant) if name in self.requirements)

    def _list(self, queue: str, step: int) -> str:
        return f"{queue}{self.separator}{step}" if step else queue

    @staticmethod
    def _names(classes: Collection[str], tenant: str | None) -> list[str]:
        """Names by preference: the class counts for more than the tenant."""
        prefix = QUEUE.partition(".")[0]
        found = []
        for name in classes:
            if tenant:
                found.append(f"{prefix}.{name}.{tenant}")
            found.append(f"{prefix}.{name}")
        return found
