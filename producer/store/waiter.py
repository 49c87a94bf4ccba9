"""Wait for the outcomes of many jobs with one connection and one thread."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

import redis

from producer.contract.outcome import Outcome, UnreadableOutcome
from producer.store.deadline import TRANSIENT, deadline
from producer.store.ledger import Ledger

_BLOCK_SECONDS: Final = 0.05
"""Seconds for which a read blocks: a new job is included in the next read."""
_CHUNK: Final = 500
"""Jobs per read."""
_FEW: Final = 20
"""Up to this number of awaited jobs, outcomes are read as they come, not gathered."""


class OutcomeWaiter:
    """Futures of outcomes, resolved by one thread that runs while there are any. Thread-safe.

    Blocking callers use `Future.result`, asyncio callers `asyncio.wrap_future`. The thread is
    started when needed. After a fork the child needs a waiter of its own.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        timeout: float,
        outage: Callable[[Exception], Exception],
        closed: Exception,
    ) -> None:
        """An outage of Redis is waited out for `timeout` seconds.

        `outage` returns the exception that callers get after that, from the one of the last
        command; `closed` is what they get when the waiter is closed.
        """
        self._ledger = ledger
        self._timeout = timeout
        self._outage = outage
        self._closed_error = closed
        self._is_closed = False
        self._waiting: dict[str, list[Future[Outcome]]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def future(self, job_id: str) -> Future[Outcome]:
        """Return a new future of one job's outcome; cancel it to stop waiting."""
        future: Future[Outcome] = Future()
        with self._lock:
            if self._is_closed:
                raise self._closed_error
            self._waiting.setdefault(job_id, []).append(future)
            if self._thread is None or not self._thread.is_alive():
                name = "cutwork-outcomes"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
        return future

    def close(self) -> None:
        """End all futures, and return when the thread no longer reads the ledger."""
        with self._lock:
            self._is_closed = True
            thread, job_ids = self._thread, list(self._waiting)
        for job_id in job_ids:
            self._fail(job_id, self._closed_error)
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        offset = _CHUNK
        while job_ids := self._awaited_job_ids():
            # Jobs end roughly in order: block on the oldest, and check the others part by part.
            offset = offset + _CHUNK if offset + _CHUNK < len(job_ids) else _CHUNK
            try:
                # The broker may restart, and its outcomes survive: failing commands are repeated.
                with deadline(self._timeout):
                    outcomes = self._ledger.read_outcomes(job_ids[:_CHUNK], wait=_BLOCK_SECONDS)
                    outcomes |= self._ledger.read_outcomes(job_ids[offset : offset + _CHUNK])
            except UnreadableOutcome:
                self._fail_unreadable(job_ids)
                continue
            except Exception as error:  # noqa: BLE001 - raised to the callers
                for job_id in job_ids:
                    self._fail(job_id, self._outage(error))
                continue
            for job_id, outcome in outcomes.items():
                for future in self._claim_futures(job_id):
                    future.set_result(outcome)
            if outcomes and len(job_ids) > _FEW:
                time.sleep(_BLOCK_SECONDS / 2)  # Others end soon; gather them in one read.

    def _claim_futures(self, job_id: str) -> list[Future[Outcome]]:
        with self._lock:
            popped = self._waiting.pop(job_id, [])
        return [future for future in popped if future.set_running_or_notify_cancel()]

    def _fail(self, job_id: str, error: Exception) -> None:
        for future in self._claim_futures(job_id):
            future.set_exception(error)

    def _fail_unreadable(self, job_ids: list[str]) -> None:
        """Find the jobs whose stored values are not outcomes; raise that in their callers only."""
        for job_id in job_ids:
            try:
                with deadline(self._timeout):
                    self._ledger.read_outcomes([job_id])
            except UnreadableOutcome as error:
                self._fail(job_id, error)
            except (*TRANSIENT, redis.RedisError):
                return  # Not about one job; the next read handles it.

    def _awaited_job_ids(self) -> list[str]:
        """Return the awaited jobs; if there are none, unregister the thread under the same lock."""
        with self._lock:
            for job_id, futures in list(self._waiting.items()):
                self._waiting[job_id] = [future for future in futures if not future.cancelled()]
                if not self._waiting[job_id]:
                    del self._waiting[job_id]
            if not self._waiting:
                self._thread = None
            return list(self._waiting)
