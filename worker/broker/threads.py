"""Celery's pool of threads: no delivery is left without an end.

Celery's banner names the pool by this module. Celery documents custom classes of pools.
"""

import logging
from concurrent.futures import Future
from functools import partial
from typing import Any

from celery.concurrency import thread
from celery.worker import state

from worker.broker.celery_request import Request
from worker.broker.early_outcomes import BROKER_ERRORS, early_outcomes

log = logging.getLogger(__name__)


class ThreadPool(thread.TaskPool):
    """Celery's pool of threads, which ends the delivery if Celery itself fails in a thread.

    Upstream: an exception after the task, such as one of a malformed signature, is stored in a
    future that nothing reads. Problem: the delivery is neither acknowledged nor rejected, and its
    thread counts as busy for ever. Patch: the delivery is ended as after any other error.
    """

    def on_apply(self, *arguments: Any, **options: Any) -> Any:
        """Run a request in a thread."""
        result = super().on_apply(*arguments, **options)
        result.f.add_done_callback(partial(_end_delivery, options["callback"].__self__))
        return result


def _end_delivery(request: Request, future: Future[Any]) -> None:
    if future.cancelled() or (error := future.exception()) is None:
        return
    log.error("job %s: Celery failed after the task", request.id, exc_info=error)
    state.task_ready(request)
    try:
        if isinstance(error, MemoryError) and not early_outcomes.is_settled(request.message):
            request.reject(requeue=True)
        else:
            request.fail()
    except BROKER_ERRORS as failure:
        # kombu no longer holds the message then, so the broker requeues it.
        log.warning("job %s: the delivery could not be ended: %s", request.id, failure)
