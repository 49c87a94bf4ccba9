"""The events of a worker process: counted as metrics, logged, or handed to the shutdown."""

import logging
from collections.abc import Mapping

from worker.broker.shutdown import Shutdown
from worker.observability.metrics import Metrics
from worker.pipeline.malloc import trim_heap

log = logging.getLogger(__name__)


class WorkerEvents(Metrics):
    """The metrics of a worker, which also reacts to the events that are not counted."""

    def __init__(self, shutdown: Shutdown) -> None:
        super().__init__()
        self._shutdown = shutdown

    def process_ends(self, jobs: Mapping[str, str]) -> None:
        """Return every delivery to its queue."""
        self._shutdown.requeue_after_hang(jobs)

    def jobs_resent(self, count: int) -> None:
        """Log the number, and release the memory of the ids and messages that were compared."""
        if count:
            log.warning("sent %d lost jobs again", count)
        trim_heap()
