"""The handle of one job."""

import asyncio
import threading
from collections.abc import Generator
from concurrent import futures
from typing import Any, Literal, Protocol

from producer.client.connections import Connections
from producer.client.errors import OutcomeTimeout
from producer.contract.errors import InvalidJob
from producer.contract.job import Job
from producer.contract.outcome import Outcome

JobState = Literal["pending", "ended", "unknown"]


class _Client(Protocol):
    """What a handle needs of its client."""

    connections: Connections
    """Those of this process: a fork replaces them."""

    def cancel(self, job: str) -> bool: ...


class Handle:
    """A submitted job, from which its outcome is read. Thread-safe.

    `handle.wait(60)` blocks the thread, `await handle` or `await handle.wait_async(60)` suspends an
    asyncio task, and `handle.outcome()` does not wait.
    """

    def __init__(self, client: _Client, job_id: str, job: Job | None = None) -> None:
        self._client = client
        self._id = job_id
        self._job = job

    @property
    def id(self) -> str:
        """The id of the job and of its Celery task."""
        return self._id

    @property
    def job(self) -> Job:
        """The job; raises `InvalidJob` if the handle was made from an id alone."""
        if self._job is None:
            raise InvalidJob(
                f"job {self._id}: expected a handle with its job, found one of the id alone; "
                "make it with `client.handle(job)`"
            )
        return self._job

    def outcome(self) -> Outcome | None:
        """Return the outcome, None if there is none yet; `state` says whether there will be one.

        Raises `BrokerUnavailable`, `UnreadableOutcome` and `ClientClosed`.
        """
        connections = self._client.connections
        with connections.asking():
            return connections.ledger.read_outcomes([self.id]).get(self.id)

    def state(self) -> JobState:
        """Return `pending`, `ended` or `unknown`.

        `pending`: queued or running, an outcome will come. `ended`: there is an outcome, or the job
        belongs to a run and was counted for it. `unknown`: there is neither, see `UnknownJob`.
        Raises like `outcome`.
        """
        connections = self._client.connections
        with connections.asking():
            return connections.ledger.job_state(self.id)

    def cancel(self) -> bool:
        """Cancel the job if it has not begun; see `Client.cancel`."""
        return self._client.cancel(self.id)

    def wait(self, timeout: float | None = None) -> Outcome:
        """Return the outcome, blocking until there is one.

        Raises `OutcomeTimeout` after `timeout` seconds, `BrokerUnavailable` if the broker has not
        answered for `CUTWORK_BROKER_TIMEOUT` seconds or refuses the command, `UnreadableOutcome` if
        another program wrote the stored value, and `ClientClosed` if the client is closed. Shorter
        outages are waited out. The handle stays usable: wait again.
        """
        future = self._client.connections.waiter.future(self.id)
        try:
            return future.result(seconds_to_wait(timeout))
        except futures.TimeoutError as error:
            raise self._timeout(timeout) from error
        finally:
            future.cancel()

    async def wait_async(self, timeout: float | None = None) -> Outcome:
        """Return the outcome like `wait`, without blocking the event loop."""
        future = asyncio.wrap_future(self._client.connections.waiter.future(self.id))
        try:
            async with asyncio.timeout(seconds_to_wait(timeout)):
                return await future
        except TimeoutError as error:
            raise self._timeout(timeout) from error

    def __await__(self) -> Generator[Any, None, Outcome]:
        return self.wait_async().__await__()

    def __repr__(self) -> str:
        source = f", source={str(self._job.source)!r}" if self._job else ""
        return f"Handle(id={self.id!r}{source})"

    def _timeout(self, timeout: float | None) -> OutcomeTimeout:
        return OutcomeTimeout(
            f"job {self.id} has no outcome after {timeout:g} s; it may still be queued or running: "
            "`cutwork status` shows the queue and the workers"
        )


def seconds_to_wait(timeout: float | None) -> float | None:
    """Return a time that every waiting function of Python takes."""
    return None if timeout is None else max(0.0, min(timeout, threading.TIMEOUT_MAX))
