"""Graceful shutdown: finish running jobs, requeue the others, and end within the grace period.

Celery's own warm shutdown waits for running tasks without a limit and keeps delayed retries until
then. As PID 1 of a container, `worker/__init__.py` handles SIGTERM until this module does.
"""

import logging
import os
import queue
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from worker.broker.celery_patches import is_stopping, replace_signal_handlers, request_stop
from worker.broker.early_outcomes import BROKER_ERRORS
from worker.broker.unacked import UnackedDeliveries

log = logging.getLogger(__name__)

FindStuck = Callable[[float], Mapping[str, str]]

EXIT_UNFINISHED: Final = 1
"""The exit status if running jobs were requeued."""
_REQUEUE_SECONDS: Final = 5.0
"""The time limit for requeueing at the end, because the broker may not answer."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""SIGQUIT ends the worker at once, and so does a second signal of any kind."""


class Shutdown:
    """Ends the worker on a signal, from a thread of its own."""

    def __init__(
        self, unacked: UnackedDeliveries, *, grace: float, find_stuck: FindStuck, min_stuck: float
    ) -> None:
        """`grace`: seconds from the first signal to the end, even if jobs still run then.

        `find_stuck` returns the jobs whose stage has run for a number of seconds, and the stage of
        each. Those that are in a stage for longer than the grace period and `min_stuck` seconds
        when the worker ends count as failed deliveries; all others were merely interrupted.
        """
        self._unacked = unacked
        self._grace = grace
        self._find_stuck = find_stuck
        self._stuck_seconds = max(grace, min_stuck)
        # A signal handler may interrupt a `put`; only this kind of queue allows another one then.
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.begun = threading.Event()
        """Set when no further job may start."""
        threading.Thread(target=self._run, name="cutwork-shutdown", daemon=True).start()

    def is_stopping(self) -> bool:
        """Return whether this worker takes no more jobs, also when Celery ends it, as on SIGHUP."""
        return self.begun.is_set() or is_stopping()

    def install_signal_handlers(self) -> None:
        """Handle the signals that end a worker in place of Celery; call in the main thread."""
        replace_signal_handlers(_SIGNALS, self._handle_signal)

    def _handle_signal(self, number: int, _frame: object) -> None:
        # Not only in the thread: Celery's main loop checks this as soon as the handler returns.
        if not is_stopping():
            request_stop(status=0)
        self._signals.put(number)

    def _run(self) -> None:
        number = self._signals.get()
        self._stop_consuming(status=0)
        reason = "an immediate end was requested"
        if number != signal.SIGQUIT:
            # In a thread, so that a broker that does not answer cannot use up the grace period.
            threading.Thread(target=self._requeue_waiting, daemon=True).start()
            try:
                self._signals.get(timeout=self._grace)
                reason = "a second signal"
            except queue.Empty:
                reason = f"the grace period of {self._grace:g} s is over (CUTWORK_GRACE)"
        self._end(reason=reason)

    def requeue_after_hang(self, jobs: Mapping[str, str]) -> None:
        """Requeue everything before the watchdog ends the process.

        `jobs`: the ids of the jobs that may be why, and the stage of each. Only their deliveries
        count as failed.
        """
        self._stop_consuming(status=EXIT_UNFINISHED)
        self._requeue_all("a device or a stage hangs", failed=jobs)

    def _end(self, *, reason: str) -> NoReturn:
        """End the process now, after requeueing its deliveries if the broker answers."""

        def requeue_and_flush() -> None:
            self._requeue_all(reason, failed=self._find_stuck(self._stuck_seconds))
            logging.shutdown()

        try:
            # In a thread, because the broker or the reader of the log may hang.
            thread = threading.Thread(target=requeue_and_flush, daemon=True)
            thread.start()
            thread.join(_REQUEUE_SECONDS)
        finally:
            # Threads that hang would block any other way to end the process.
            os._exit(EXIT_UNFINISHED)

    def _stop_consuming(self, *, status: int) -> None:
        self.begun.set()
        request_stop(status=status)

    def _requeue_waiting(self) -> None:
        try:
            count = self._unacked.requeue_waiting()
        except BROKER_ERRORS as error:
            log.warning("waiting jobs could not be requeued: %s", error)
            return
        log.info("ending within %g s: %d waiting jobs requeued", self._grace, count)

    def _requeue_all(self, reason: str, *, failed: Mapping[str, str]) -> None:
        try:
            count = self._unacked.requeue_all(failed=failed)
        except BROKER_ERRORS as error:
            log.warning("ended: %s; no job could be requeued: %s", reason, error)
            return
        log.warning("ended: %s; %d jobs requeued", reason, count)
        for job_id, stage in failed.items():
            log.warning("job %s: this delivery counts as failed, at the stage %s", job_id, stage)
