"""The client of producers: submit jobs and wait for their outcomes."""

import asyncio
import os
from collections.abc import Iterable, Iterator
from concurrent import futures
from typing import Final, Self
from weakref import WeakSet

from celery import Celery
from pydantic import ValidationError

from producer.client.connections import GROUP, Connections
from producer.client.errors import BrokerUnavailable, OutcomeTimeout, UnknownJob
from producer.client.handle import Handle, seconds_to_wait
from producer.config.settings import ProducerSettings
from producer.contract.errors import InvalidJob
from producer.contract.formats import fit_formats
from producer.contract.job import JOB_ID, Job
from producer.contract.options import Options
from producer.contract.outcome import Outcome
from producer.contract.s3_uri import ImageRef
from producer.contract.validation_errors import explain
from producer.store.deadline import open_redis
from producer.store.ledger import Ledger
from producer.store.queue_status import QueueStatus, combine, queue_statuses
from producer.store.recovery import Recovery
from producer.store.routes import Routes
from producer.store.runs import RunLedger

_MARGIN: Final = 1.0
"""Seconds after which an asyncio caller no longer expects the answer of the sending thread."""


class Client:
    """Submits jobs and waits for their outcomes. Safe to share between threads and asyncio tasks.

    One client per process is enough. As a context manager it closes its connections at the end.
    Every call ends within `CUTWORK_BROKER_TIMEOUT` seconds (10 by default) if the broker refuses
    connections, is silent, slow or fails over, and then raises `BrokerUnavailable`; `submit_many`
    has that time for each 100 jobs. A process may fork at any time: in the child the client opens
    connections of its own.
    """

    def __init__(self, broker_url: str | None = None) -> None:
        """Read the settings from the environment; no connection is made yet.

        `broker_url` replaces `CUTWORK_BROKER_URL`. Raises `SettingsError` if a setting is wrong.
        """
        values = {} if broker_url is None else {"broker_url": broker_url}
        self._settings = ProducerSettings.read(**values)
        self.tenant = self._settings.tenant
        """The tenant whose queues the jobs are sent to, None without tenants."""
        self.connections = Connections(self._settings)
        _clients.add(self)

    def submit(
        self,
        source: str | ImageRef,
        *,
        image: str | ImageRef | None = None,
        mask: str | ImageRef | None = None,
        options: Options | None = None,
    ) -> Handle:
        """Enqueue one image and return the handle of its job.

        `source` is the `s3://bucket/key` to read; `image` and `mask` are the destinations of the
        RGBA cut-out and of the mask, at least one of them. `options` default to `Options()`. A
        format that the options do not name follows from the destination's suffix. Raises
        `InvalidJob` if the arguments do not describe a job, `BrokerUnavailable` if the job could
        not be enqueued, and `ClientClosed`.
        """
        return self.submit_many([self._job(source, image, mask, options)])[0]

    async def submit_async(
        self,
        source: str | ImageRef,
        *,
        image: str | ImageRef | None = None,
        mask: str | ImageRef | None = None,
        options: Options | None = None,
    ) -> Handle:
        """Enqueue one image like `submit`, without blocking the event loop.

        Jobs that are submitted at the same time are sent together, by one thread of the client.
        """
        connections = self.connections
        connections.check_open()
        job = fit_formats(self._job(source, image, mask, options))
        sent = connections.sender.submit(job, seconds=connections.timeout)
        try:
            async with asyncio.timeout(connections.timeout + _MARGIN):
                await asyncio.wrap_future(sent)
        except TimeoutError as error:
            raise connections.describe_outage(error) from error
        return self._handle(job)

    def submit_many(self, jobs: Iterable[Job]) -> list[Handle]:
        """Enqueue jobs in order and return their handles in the same order.

        `jobs` is read to its end first; the jobs are then sent in groups of 100. If the broker
        fails half-way, raises `BrokerUnavailable`, whose text says how many jobs were enqueued;
        these run. Raises `InvalidJob`, before anything is sent, if one of them is not a valid job.
        """
        self.connections.check_open()
        jobs = [fit_formats(_require_job(job)) for job in jobs]
        for sent in range(0, len(jobs), GROUP):
            try:
                self.connections.send(jobs[sent : sent + GROUP])
            except BrokerUnavailable as error:
                raise BrokerUnavailable(
                    f"{sent} of {len(jobs)} jobs were enqueued: {error}"
                ) from error.__cause__
        return [self._handle(job) for job in jobs]

    def handle(self, job: Job | str) -> Handle:
        """Return the handle of a job, or of the id of a job, submitted earlier by any process.

        Sends nothing, and does not check that the job exists: `Handle.state` does. Raises
        `InvalidJob` if the id cannot be the id of a job.
        """
        if isinstance(job, Job):
            return self._handle(job)
        if not isinstance(job, str) or not JOB_ID.fullmatch(job):
            raise InvalidJob(
                "job: expected a Job or its id, 1 to 128 characters of A-Z, a-z, 0-9 and ._:-, "
                f"found {job!r:.200}"
            )
        return Handle(self, job)

    def cancel(self, job: Handle | Job | str) -> bool:
        """Cancel a job, given by its handle or id; return whether it will not run.

        The outcome of a job that has not begun is `cancelled` at once, and no worker runs it.
        Returns False if the job has ended, or has begun: it is not interrupted then, but a further
        attempt is. Raises `UnknownJob` if no pending job and no outcome has this id; the message of
        such a job, which a canvas may have sent, is not run either. A worker of a release before
        this method runs cancelled jobs.
        """
        job_id = job.id if isinstance(job, Handle) else self.handle(job).id
        with self.connections.asking():
            found = self.connections.ledger.cancel(job_id, reason="it was cancelled")
        if found == "unknown":
            raise UnknownJob(
                f"job {job_id}: expected a pending job or an outcome with this id, found neither; "
                "compare it with the id that was printed when the job was submitted"
            )
        return found == "cancelled"

    def as_completed(
        self, handles: Iterable[Handle], timeout: float | None = None
    ) -> Iterator[tuple[Handle, Outcome]]:
        """Yield each handle with its outcome, in the order in which the jobs end.

        Raises `OutcomeTimeout` when `timeout` seconds have passed since the first iteration, and
        the other exceptions of `Handle.wait`.
        """
        waiter = self.connections.waiter
        handle_by_future = {waiter.future(handle.id): handle for handle in handles}
        done = 0
        try:
            for future in futures.as_completed(handle_by_future, seconds_to_wait(timeout)):
                done += 1
                yield handle_by_future[future], future.result()
        except futures.TimeoutError as error:
            raise OutcomeTimeout(
                f"{len(handle_by_future) - done} of {len(handle_by_future)} jobs have no outcome "
                f"after {timeout:g} s"
            ) from error
        finally:
            for future in handle_by_future:
                future.cancel()

    @property
    def runs(self) -> RunLedger:
        """The ledger of the runs of `cutwork sync`, for reading.

        `runs()` returns the records of all runs, latest first, and `record(run)` that of one run,
        with its state and counts; both are pydantic models. `record` raises `UnknownRun` or
        `UnreadableRun`. The other methods belong to `cutwork sync`.
        """
        return self.connections.runs

    @property
    def app(self) -> Celery:
        """The Celery app of this client, to compose canvases with."""
        return self.connections.app

    @property
    def sweep(self) -> Recovery:
        """The recovery of lost messages, whatever client submitted the jobs."""
        return Recovery(app=self.app, ledger=self.connections.ledger)

    @property
    def broker_url(self) -> str:
        """The URL of the broker; it may contain a password, see `hide_password`."""
        return self._settings.broker_url

    def server(self) -> tuple[str, str]:
        """Return the broker's version and eviction policy; raises `BrokerUnavailable`."""
        with self.connections.asking():
            return self.connections.ledger.server_facts()

    def workers(self, timeout: float = 1.0) -> list[str]:
        """Return the names of the workers that answer within `timeout` seconds.

        Raises `BrokerUnavailable`.
        """
        with self.connections.asking(more=timeout):
            self._ledger.redis.ping()  # With a deadline, unlike Celery's broadcast.
            replies = self.app.control.ping(timeout=timeout) or []
        return sorted(name for reply in replies for name in reply)

    @property
    def queues(self) -> list[str]:
        """The names of all queues, as configured in `celeryconfig.py`."""
        return list(self._routes.requirements)

    def served_queues(self, timeout: float = 1.0) -> set[str]:
        """Return the queues consumed by the workers that answer within `timeout` seconds.

        Raises `BrokerUnavailable`.
        """
        with self.connections.asking(more=timeout):
            self._ledger.redis.ping()
            replies = self.app.control.inspect(timeout=timeout).active_queues() or {}
        return {str(queue["name"]) for queues in replies.values() for queue in queues}

    def status(self) -> QueueStatus:
        """Return the status of all queues together; raises `BrokerUnavailable`.

        A `QueueStatus` has `waiting`, the number of queued messages; `priorities`, the same by
        priority; `in_flight`, the number of unacknowledged deliveries; and `oldest_waiting`, the
        age in seconds of the oldest queued job, None if none is queued.
        """
        return combine(self.statuses().values())

    def statuses(self) -> dict[str, QueueStatus]:
        """Return the status of each queue by name; raises `BrokerUnavailable`."""
        timeout = self.connections.timeout
        with (
            self.connections.asking(),
            open_redis(self.broker_url, timeout=timeout, retries=0) as server,
        ):
            return queue_statuses(server, routes=self._routes)

    def pending(self) -> int:
        """Return the number of pending jobs of all clients; raises `BrokerUnavailable`."""
        with self.connections.asking():
            return self.connections.ledger.count_pending()

    def close(self) -> None:
        """Close the connections. Callers that still wait, and all later calls, get `ClientClosed`.

        Jobs that `submit_async` has queued are sent first.
        """
        self.connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _ledger(self) -> Ledger:
        return self.connections.ledger

    @property
    def _routes(self) -> Routes:
        return Routes.from_app(self.app)

    def _handle(self, job: Job) -> Handle:
        return Handle(self, job.id, job)

    def _job(
        self,
        source: str | ImageRef,
        image: str | ImageRef | None,
        mask: str | ImageRef | None,
        options: Options | None,
    ) -> Job:
        values = {"source": source, "image": image, "mask": mask, "tenant": self.tenant}
        try:
            return Job.model_validate(values | {"options": options or Options()})
        except ValidationError as error:
            raise InvalidJob(explain(error)) from error

    def _renew_after_fork(self) -> None:
        """Replace everything that holds a lock, a thread or a socket of the parent process."""
        self.connections = self.connections.renewed()


def _require_job(value: object) -> Job:
    if not isinstance(value, Job):
        raise InvalidJob(f"jobs: expected instances of Job, found {value!r:.200}")
    return value


def _renew_clients() -> None:
    for client in list(_clients):
        client._renew_after_fork()


_clients: "WeakSet[Client]" = WeakSet()
os.register_at_fork(after_in_child=_renew_clients)
