"""Wait for the outcomes of many jobs with one connection and one thread."""

import threading
import time
from concurrent.futures import Future
from typing import Final

import redis

from producer.ledger import Ledger
from producer.outcome import Outcome

_ROUND: Final = 0.05
"""Seconds one read blocks: how long a job that starts waiting while others wait goes unwatched."""
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
        while job_ids := self._still_awaited():
            try:
                outcomes = self._ledger.outcomes(job_ids, wait=_ROUND)
            except redis.RedisError:
                # The outcome is in Redis or will be; brokers restart, and who waits has a timeout.
                time.sleep(_PAUSE)
                continue
            for job_id, outcome in outcomes.items():
                with self._lock:
                    futures = self._waiting.pop(job_id, [])
                for future in futures:
                    if future.set_running_or_notify_cancel():
                        future.set_result(outcome)

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
