"""Send the jobs of asyncio callers from one thread, in groups."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from producer.contract.job import Job


class _Send(Protocol):
    def __call__(self, jobs: Sequence[Job], *, seconds: float) -> None: ...


class _Request(NamedTuple):
    job: Job
    sent: "Future[None]"
    end: float


class Sender:
    """A queue of jobs, emptied by one thread that runs while there are any. Thread-safe.

    Each group holds what has been queued meanwhile, so a thousand callers need neither a thousand
    threads nor a thousand round trips. All of a group succeed or fail together, and every job has
    an answer in its own time: those that waited until then fail without an attempt of their own.
    """

    def __init__(
        self, send: _Send, *, limit: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`send` enqueues up to `limit` jobs within the given seconds, or raises."""
        self._send = send
        self._limit = limit
        self._clock = clock
        self._requests: deque[_Request] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, job: Job, *, seconds: float) -> "Future[None]":
        """Queue a job; the future ends when it is enqueued, or has failed, within `seconds`."""
        request = _Request(job, Future(), self._clock() + seconds)
        with self._lock:
            self._requests.append(request)
            if self._thread is None or not self._thread.is_alive():
                name = "cutwork-submit"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
        return request.sent

    def close(self) -> None:
        """Return when the thread has ended: what is queued is sent, or fails in its time."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while group := self._take():
            try:
                end = min(request.end for request in group)
                jobs = [request.job for request in group]
                self._send(jobs, seconds=max(0.0, end - self._clock()))
            except Exception as error:  # noqa: BLE001 - raised to the callers
                for request in group:
                    request.sent.set_exception(error)
            else:
                for request in group:
                    request.sent.set_result(None)

    def _take(self) -> list[_Request]:
        """Return the next requests, without those whose callers gave up; [] ends the thread."""
        group: list[_Request] = []
        with self._lock:
            while self._requests and len(group) < self._limit:
                request = self._requests.popleft()
                if request.sent.set_running_or_notify_cancel():
                    group.append(request)
            if not group:
                self._thread = None
        return group
