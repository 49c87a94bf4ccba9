"""The worker's unacknowledged deliveries: renewing, requeueing and counting them."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from celery.exceptions import Reject

from producer.store.ledger import Ledger
from worker.broker.celery_patches import consumer_qos
from worker.broker.early_outcomes import BROKER_ERRORS

log = logging.getLogger(__name__)

_MIN_RENEWAL_SECONDS: Final = 0.2
_REMEMBERED_TAGS: Final = 2000
"""Twice the largest number of threads: Celery ends a delivery soon after its job."""
_STOP_CONSUMING_SECONDS: Final = 4.0
"""Celery stops consuming within two seconds of its signal."""


class UnackedDeliveries:
    """The worker's unacknowledged deliveries. Thread-safe.

    A requeued message can be taken by another worker at once. Whatever Celery does with it
    afterwards in this process has no effect.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._consumer: Any = None
        self._running_jobs: dict[str, str] = {}
        """The ids of running jobs, by delivery tag."""
        self._settled_tags: set[str] = set()
        """Deliveries that Celery is about to acknowledge."""
        self._ended_tags: deque[str] = deque(maxlen=_REMEMBERED_TAGS)
        """The same, also after a reconnection."""
        self._lock = threading.Lock()

    def attach(self, consumer: Any) -> None:
        """Manage the deliveries of Celery's consumer, through all its connections."""
        self._consumer = consumer

    @contextmanager
    def processing(self, tag: str) -> Iterator[None]:
        """Mark a delivery as settled at the end of the block, unless `Reject` is raised."""
        try:
            yield
        except Reject:
            raise
        except BaseException:  # including a retry: Celery acknowledges after all but `Reject`
            self._mark_settled(tag)
            raise
        self._mark_settled(tag)

    def is_settled(self, tag: str) -> bool:
        """Return whether a delivery ended with a stored outcome or a retry."""
        with self._lock:
            return tag in self._ended_tags

    @contextmanager
    def running(self, tag: str, job_id: str) -> Iterator[None]:
        """Mark the job of a delivery as running inside the block."""
        with self._lock:
            self._running_jobs[tag] = job_id
        try:
            yield
        finally:
            with self._lock:
                self._running_jobs.pop(tag, None)

    def count_running(self) -> int:
        """Return the number of running jobs."""
        return len(self._running_jobs)

    def renew_forever(self, *, visibility_timeout: float) -> None:
        """Renew every delivery four times per visibility timeout, until the process ends.

        How long a job takes is not known in advance. A process that is killed or stopped no longer
        renews, so its messages return to the queue after the visibility timeout.
        """
        while True:
            time.sleep(max(_MIN_RENEWAL_SECONDS, visibility_timeout / 4))
            try:
                if qos := consumer_qos(self._consumer):
                    qos.renew(self._ledger)
                with self._lock:
                    running = set(self._running_jobs.values())
                for job_id in running:
                    self._ledger.deliveries.touch(job_id)
            except BROKER_ERRORS as error:
                log.info("this worker's deliveries were not renewed: %s", error)
            except Exception:  # without this thread every long job would be processed twice
                log.exception("this worker's deliveries were not renewed")

    def requeue_waiting(self) -> int:
        """Requeue what has not begun: delayed retries, and deliveries that wait for a thread.

        Return how many.
        """
        with self._lock:
            running = set(self._running_jobs)
        return self._requeue_all_but(running, last=set())

    def requeue_all(self, *, failed: Mapping[str, str]) -> int:
        """Requeue every delivery and return how many.

        `failed`: the ids of the jobs that may be why the process ends, and the stage of each. Their
        deliveries count towards `CUTWORK_MAX_DELIVERIES`, and their messages go to the end of the
        queue, behind jobs that have not been tried. Those of other running jobs do neither.
        """
        with self._lock:
            running = dict(self._running_jobs)
        failed_tags = {tag for tag, job_id in running.items() if job_id in failed}
        count = self._requeue_all_but(set(), last=failed_tags)
        for job_id in running.values():
            if job_id in failed:
                self._ledger.deliveries.mark_failed(job_id, stage=failed[job_id])
            else:
                self._ledger.deliveries.release(job_id)
        return count

    def _requeue_all_but(self, kept_tags: set[str], *, last: set[str]) -> int:
        qos = consumer_qos(self._consumer)
        if qos is None:
            return 0
        # As long as this worker consumes, it would take a requeued message again itself.
        qos.channel.consuming_stopped.wait(_STOP_CONSUMING_SECONDS)
        with self._lock:
            settled = set(self._settled_tags)
        # An ending Celery would acknowledge them only at the very end.
        for tag in settled:
            qos.acknowledge(tag, self._ledger)
        tags = qos.unacked_tags() - kept_tags - settled
        for tag in tags:
            qos.requeue(tag, self._ledger, last=tag in last)
        return len(tags)

    def _mark_settled(self, tag: str) -> None:
        with self._lock:
            self._ended_tags.append(tag)
        qos = consumer_qos(self._consumer)
        if qos is not None:
            with self._lock:
                # Celery acknowledges a moment later, so older tags need not be remembered.
                self._settled_tags = (self._settled_tags | {tag}) & qos.unacked_tags()
