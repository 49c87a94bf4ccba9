"""Wait for the outcomes of many jobs with one connection and one thread."""

import threading
import time
from concurrent.futures import Future
from typing import Final

import redis

from producer.contract.outcome import Outcome, UnreadableOutcome
from producer.store.ledger import Ledger

_ROUND: Final = 0.05
"""Seconds one read blocks: how long a job that starts waiting while others wait goes unwatched."""
_WINDOW: Final = 500
"""Jobs one read asks for."""
_FEW: Final = 20
"""Jobs waited for at once whose outcomes are handed on without gathering."""
_PAUSE: Final = 0.5
"""Seconds between tries while Redis cannot be reached."""


class OutcomeWaiter:
    """Futures of outcomes. A thread reads the ledger while there are any, and ends with the last.

    Blocking callers use `Future.result`, asyncio ones `asyncio.wrap_future`: one way of waiting
    serves both. The thread starts anew when needed, so a fork between uses does no harm.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: dict[str, list[Future[Outcome]]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def future(self, job_id: str) -> Future[Outcome]:
        """A new future of one job's outcome; cancel it to stop waiting."""
        future: Future[Outcome] = Future()
        with self._lock:
            self._waiting.setdefault(job_id, []).append(future)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="cutwork-outcomes", daemon=True
                )
                self._thread.start()
        return future

    def close(self) -> None:
        """Cancel every future, and return when nothing reads the ledger any more."""
        with self._lock:
            thread = self._thread
            for futures in self._waiting.values():
                for future in futures:
                    future.cancel()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        offset = _WINDOW
        while job_ids := self._still_awaited():
            # Jobs end roughly in their order: the oldest are watched, the rest looked at in turn.
            offset = offset + _WINDOW if offset + _WINDOW < len(job_ids) else _WINDOW
            try:
                outcomes = self._ledger.read_outcomes(job_ids[:_WINDOW], wait=_ROUND)
                outcomes |= self._ledger.read_outcomes(job_ids[offset : offset + _WINDOW])
            except (redis.ConnectionError, redis.TimeoutError):
                # The outcome is in Redis or will be; brokers restart, and who waits has a timeout.
                time.sleep(_PAUSE)
                continue
            except UnreadableOutcome:
                self._fail_unreadable(job_ids)
                continue
            except Exception as error:  # noqa: BLE001 - who waits must hear of it
                for job_id in job_ids:
                    self._fail(job_id, error)
                continue
            for job_id, outcome in outcomes.items():
                for future in self._taken(job_id):
                    if future.set_running_or_notify_cancel():
                        future.set_result(outcome)
            if outcomes and len(job_ids) > _FEW:
                time.sleep(_ROUND / 2)  # More are about to come; one read fetches them together.

    def _taken(self, job_id: str) -> list[Future[Outcome]]:
        with self._lock:
            return self._waiting.pop(job_id, [])

    def _fail(self, job_id: str, error: Exception) -> None:
        """End the waits for a job with an error that waiting longer does not mend."""
        for future in self._taken(job_id):
            if future.set_running_or_notify_cancel():
                future.set_exception(error)

    def _fail_unreadable(self, job_ids: list[str]) -> None:
        """Among many outcomes one is none: only who waits for that one is to hear of it."""
        for job_id in job_ids:
            try:
                self._ledger.read_outcomes([job_id])
            except UnreadableOutcome as error:
                self._fail(job_id, error)
            except redis.RedisError:
                return  # Of no job in particular: the next round meets it, or finds this one again.

    def _still_awaited(self) -> list[str]:
        """The jobs somebody waits for; with none, the thread signs off under the same lock."""
        with self._lock:
            for job_id, futures in list(self._waiting.items()):
                self._waiting[job_id] = [future for future in futures if not future.cancelled()]
                if not self._waiting[job_id]:
                    del self._waiting[job_id]
            if not self._waiting:
                self._thread = None
            return list(self._waiting)
