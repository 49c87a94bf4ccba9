"""The client of producers: submit jobs and wait for their outcomes."""

import asyncio
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent import futures
from contextlib import suppress
from typing import Any, Final, Self

import redis
from celery import Celery
from kombu.exceptions import (  # type: ignore[attr-defined]  # New in kombu 5.7; not in the stubs.
    BatchPublishError,
    KombuError,
)
from kombu.utils.functional import retry_over_time
from pydantic import ValidationError

from producer.config.broker_url import failure_advice
from producer.config.settings import ProducerSettings, celery_settings
from producer.config.signing import register_signing
from producer.contract.job import InvalidJob, Job
from producer.contract.options import Options
from producer.contract.outcome import Outcome
from producer.contract.s3_uri import ImageRef
from producer.contract.validation_errors import explain, hide_password
from producer.store.ledger import Ledger
from producer.store.publish import publish
from producer.store.queue_status import QueueStatus, combine, queue_statuses
from producer.store.recovery import Recovery
from producer.store.routes import Routes
from producer.store.runs import RunLedger
from producer.store.waiter import OutcomeWaiter

_GROUP: Final = 100
"""Jobs sent together. All of them are pending before the first one is sent, so a larger group would
give a recovery time to find the last ones lost."""


class BrokerUnavailable(ConnectionError):
    """The broker could not be reached, or refused a command.

    The text says how many jobs were enqueued. If the connection broke while jobs were being sent,
    some of the next ones, 100 at most, may be in the queue as well. The client stays usable: submit
    again when the broker is back. Submitting an image twice is harmless: by default workers skip
    outputs that have the same fingerprint.
    """


class OutcomeTimeout(TimeoutError):
    """A job has no outcome after the given time.

    The job is still queued or running; wait again, or look at `cutwork status`.
    """


class Handle:
    """A submitted job, from which its outcome is read. Thread-safe.

    `handle.wait(60)` blocks the thread, `await handle` or `await handle.wait_async(60)` suspends an
    asyncio task, and `handle.outcome()` does not wait.
    """

    def __init__(self, job: Job, *, ledger: Ledger, waiter: OutcomeWaiter) -> None:
        self.job = job
        self._ledger = ledger
        self._waiter = waiter

    @property
    def id(self) -> str:
        """The id of the job and of its Celery task."""
        return self.job.id

    def outcome(self) -> Outcome | None:
        """Return the outcome, None if there is none yet.

        Raises `redis.RedisError` if the broker does not answer, and `UnreadableOutcome`.
        """
        return self._ledger.read_outcomes([self.id]).get(self.id)

    def wait(self, timeout: float | None = None) -> Outcome:
        """Return the outcome, blocking until there is one.

        Raises `OutcomeTimeout` after `timeout` seconds, `UnreadableOutcome` if another program
        wrote the stored value, `redis.ResponseError` if the broker refuses the command, and
        `concurrent.futures.CancelledError` if the client is closed. An outage of the broker is
        waited out.
        """
        future = self._waiter.future(self.id)
        try:
            return future.result(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))
        except futures.TimeoutError as error:
            raise self._timeout(timeout) from error
        finally:
            future.cancel()

    async def wait_async(self, timeout: float | None = None) -> Outcome:
        """Return the outcome like `wait`, without blocking the event loop."""
        future = asyncio.wrap_future(self._waiter.future(self.id))
        try:
            return await asyncio.wait_for(future, timeout)
        except TimeoutError as error:
            raise self._timeout(timeout) from error

    def __await__(self) -> Generator[Any, None, Outcome]:
        return self.wait_async().__await__()

    def __repr__(self) -> str:
        return f"Handle(id={self.id!r}, source={str(self.job.source)!r})"

    def _timeout(self, timeout: float | None) -> OutcomeTimeout:
        return OutcomeTimeout(
            f"job {self.id} has no outcome after {timeout:g} s; it may still be queued or running: "
            "`cutwork status` shows the queue and the workers"
        )


class Client:
    """Submits jobs and waits for their outcomes. Safe to share between threads and asyncio tasks.

    One client per process is enough. As a context manager it closes its connections at the end.
    A process may fork while no outcome is awaited: parent and child can both use the client then.
    """

    def __init__(self, broker_url: str | None = None) -> None:
        """Read the settings from the environment; no connection is made yet.

        `broker_url` replaces `CUTWORK_BROKER_URL`. Raises `SettingsError` if a setting is wrong.
        """
        values = {} if broker_url is None else {"broker_url": broker_url}
        settings = ProducerSettings.read(**values)
        self._url = settings.broker_url
        self.app = celery_app(settings)
        self._routes = Routes.from_app(self.app)
        self.tenant = settings.tenant
        """The tenant whose queues the jobs are sent to, None without tenants."""
        timeout = self.app.conf.broker_transport_options["socket_timeout"]
        self._ledger = Ledger(self._url, timeout=timeout, signed=settings.signing is not None)
        self._waiter = OutcomeWaiter(self._ledger)

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
        RGBA cut-out and of the mask, at least one of them. `options` default to `Options()`, whose
        constructor raises `pydantic.ValidationError` for a wrong option. Raises `InvalidJob` if the
        arguments do not describe a job, and `BrokerUnavailable` if the job could not be enqueued.
        """
        values = {"source": source, "image": image, "mask": mask, "tenant": self.tenant}
        try:
            job = Job.model_validate(values | {"options": options or Options()})
        except ValidationError as error:
            raise InvalidJob(explain(error)) from error
        return self.submit_many([job])[0]

    async def submit_async(
        self,
        source: str | ImageRef,
        *,
        image: str | ImageRef | None = None,
        mask: str | ImageRef | None = None,
        options: Options | None = None,
    ) -> Handle:
        """Enqueue one image like `submit`, without blocking the event loop."""
        return await asyncio.to_thread(self.submit, source, image=image, mask=mask, options=options)

    def submit_many(self, jobs: Iterable[Job]) -> list[Handle]:
        """Enqueue jobs in order and return their handles in the same order.

        `jobs` is read to its end first; the jobs are then sent in groups of 100. If the broker
        fails half-way, raises `BrokerUnavailable`, whose text says how many jobs were enqueued;
        these run. The constructor `Job(…)` raises `pydantic.ValidationError` for a wrong field.
        """
        jobs = list(jobs)
        sent = 0
        try:
            while group := jobs[sent : sent + _GROUP]:
                self._ledger.add_pending(*group)
                retry_over_time(
                    publish,
                    BatchPublishError,
                    args=(self.app, group),
                    max_retries=3,
                    interval_start=0.1,
                    interval_max=1,
                )
                sent += len(group)
        except (KombuError, redis.RedisError, OSError) as error:
            # In the same outage. The recovery sends jobs that stay pending without a message.
            with suppress(redis.RedisError):
                self._ledger.discard_pending(*jobs[sent : sent + _GROUP])
            reason = error.__cause__ if isinstance(error, BatchPublishError) else error
            raise BrokerUnavailable(
                f"cannot reach the broker at {hide_password(self._url)} after enqueueing {sent} "
                f"of {len(jobs)} jobs ({reason}); {failure_advice(reason)}"
            ) from error
        return [self.handle(job) for job in jobs]

    def handle(self, job: Job) -> Handle:
        """Return the handle of a job that this or another process submitted earlier.

        Sends nothing, and does not check that the job exists. The outcome is found by the id alone.
        """
        return Handle(job, ledger=self._ledger, waiter=self._waiter)

    def as_completed(
        self, handles: Iterable[Handle], timeout: float | None = None
    ) -> Iterator[tuple[Handle, Outcome]]:
        """Yield each handle with its outcome, in the order in which the jobs end.

        Raises `OutcomeTimeout` when `timeout` seconds have passed since the first iteration, and
        `UnreadableOutcome` like `Handle.wait`.
        """
        handle_by_future = {self._waiter.future(handle.id): handle for handle in handles}
        done = 0
        try:
            for future in futures.as_completed(handle_by_future, timeout):
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
        return self._ledger.runs

    @property
    def sweep(self) -> Recovery:
        """The recovery of lost messages, whatever client submitted the jobs."""
        return Recovery(app=self.app, ledger=self._ledger)

    @property
    def broker_url(self) -> str:
        """The URL of the broker; it may contain a password, see `hide_password`."""
        return self._url

    def server(self) -> tuple[str, str]:
        """Return the broker's version and eviction policy; raises `redis.RedisError`."""
        return self._ledger.server_facts()

    def workers(self, timeout: float = 1.0) -> list[str]:
        """Return the names of the workers that answer within `timeout` seconds.

        Raises `kombu.exceptions.OperationalError` if the broker does not answer.
        """
        replies = self.app.control.ping(timeout=timeout) or []
        return sorted(name for reply in replies for name in reply)

    @property
    def queues(self) -> list[str]:
        """The names of all queues, as configured in `celeryconfig.py`."""
        return list(self._routes.requirements)

    def served_queues(self, timeout: float = 1.0) -> set[str]:
        """Return the queues consumed by the workers that answer within `timeout` seconds.

        Raises `kombu.exceptions.OperationalError` if the broker does not answer.
        """
        replies = self.app.control.inspect(timeout=timeout).active_queues() or {}
        return {str(queue["name"]) for queues in replies.values() for queue in queues}

    def status(self) -> QueueStatus:
        """Return the status of all queues together; raises `redis.RedisError`.

        A `QueueStatus` has `waiting`, the number of queued messages; `priorities`, the same by
        priority; `in_flight`, the number of unacknowledged deliveries; and `oldest_waiting`, the
        age in seconds of the oldest queued job, None if none is queued.
        """
        return combine(self.statuses().values())

    def statuses(self) -> dict[str, QueueStatus]:
        """Return the status of each queue by name; raises `redis.RedisError`."""
        with redis.Redis.from_url(self._url, socket_timeout=10) as server:
            return queue_statuses(server, routes=self._routes)

    def pending(self) -> int:
        """Return the number of pending jobs of all clients; raises `redis.RedisError`."""
        return self._ledger.count_pending()

    def close(self) -> None:
        """Close the connections; callers that still wait get a `CancelledError`."""
        self._waiter.close()
        self.app.close()
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def celery_app(settings: ProducerSettings) -> Celery:
    """Return a Celery app with Cutwork's settings; raise `SettingsError` if one is wrong."""
    register_signing(settings.signing)
    app = Celery("cutwork-producer", set_as_current=False)
    app.conf.update(celery_settings(settings))
    return app
