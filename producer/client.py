"""Submit jobs by task name, and wait for their outcomes."""

import asyncio
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent import futures
from types import TracebackType
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
    """The broker could not be reached; nothing was enqueued."""


class OutcomeTimeout(TimeoutError):
    """The time is over and the job has no outcome yet; it goes on all the same."""


class Handle:
    """One submitted job.

    `handle.wait(60)` blocks a thread, `await handle` or `await handle.wait_async(60)` an asyncio
    task, and `handle.outcome()` asks without waiting.
    """

    def __init__(self, job: Job, *, ledger: Ledger, waiter: OutcomeWaiter) -> None:
        self.job = job
        self._ledger = ledger
        self._waiter = waiter

    @property
    def id(self) -> str:
        """The job's id, also the id of its Celery task."""
        return self.job.id

    def outcome(self) -> Outcome | None:
        """The outcome if there is one already, else None."""
        return self._ledger.read_outcomes([self.id]).get(self.id)

    def wait(self, timeout: float | None = None) -> Outcome:
        """Block until the outcome is there; `OutcomeTimeout` after `timeout` seconds."""
        future = self._waiter.future(self.id)
        try:
            return future.result(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))
        except futures.TimeoutError as error:
            raise self._timeout(timeout) from error
        finally:
            future.cancel()

    async def wait_async(self, timeout: float | None = None) -> Outcome:
        """Like `wait`, for asyncio: the loop stays free."""
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
            f"job {self.id} has no outcome after {timeout:g} s; it may still wait or run: "
            "`cutwork status` shows the queue and the workers"
        )


class Client:
    """Enqueues jobs; safe to share between threads and between asyncio tasks.

    One client a process is enough. Usable as a context manager, which closes its connections.
    """

    def __init__(self, broker_url: str | None = None) -> None:
        """`broker_url` stands in for `CUTWORK_BROKER_URL`; `SettingsError` when either is wrong."""
        values = {} if broker_url is None else {"broker_url": broker_url}
        settings = ProducerSettings.read(**values)
        self._url = settings.broker_url
        self.app = celery_app(settings)
        self._routes = Routes.from_app(self.app)
        self.tenant = settings.tenant
        """Whose queues its jobs wait in; None for nobody's own."""
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
        """Enqueue one image.

        `source` is the `s3://bucket/key` to read; `image` and `mask` say where the RGBA cut-out and
        the mask go, at least one of them. Raises `InvalidJob` when these do not make a job and
        `BrokerUnavailable` when it could not be enqueued.
        """
        try:
            job = Job.model_validate(
                {
                    "source": source,
                    "image": image,
                    "mask": mask,
                    "options": options or Options(),
                    "tenant": self.tenant,
                }
            )
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
        """Like `submit`, for asyncio: the loop stays free while the broker is spoken to."""
        return await asyncio.to_thread(self.submit, source, image=image, mask=mask, options=options)

    def submit_many(self, jobs: Iterable[Job]) -> list[Handle]:
        """Enqueue jobs in order and return their handles in the same order.

        `jobs` is read to its end first; jobs are then sent in groups of 100. When the broker fails
        half-way, `BrokerUnavailable` says how many jobs were enqueued; those run.
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
            self._discard_pending(jobs[sent : sent + _GROUP])
            reason = error.__cause__ if isinstance(error, BatchPublishError) else error
            raise BrokerUnavailable(
                f"cannot reach the broker at {hide_password(self._url)} after enqueueing {sent} "
                f"of {len(jobs)} jobs ({reason}); {failure_advice(reason)}"
            ) from error
        return [self.handle(job) for job in jobs]

    def handle(self, job: Job) -> Handle:
        """The handle of a job submitted earlier, perhaps by another process."""
        return Handle(job, ledger=self._ledger, waiter=self._waiter)

    def as_completed(
        self, handles: Iterable[Handle], timeout: float | None = None
    ) -> Iterator[tuple[Handle, Outcome]]:
        """Yield each handle with its outcome, as they come in; `OutcomeTimeout` when time is up."""
        waiting = {self._waiter.future(handle.id): handle for handle in handles}
        done = 0
        try:
            for future in futures.as_completed(waiting, timeout):
                done += 1
                yield waiting[future], future.result()
        except futures.TimeoutError as error:
            raise OutcomeTimeout(
                f"{len(waiting) - done} of {len(waiting)} jobs have no outcome after {timeout:g} s"
            ) from error
        finally:
            for future in waiting:
                future.cancel()

    @property
    def runs(self) -> RunLedger:
        """The runs of `cutwork sync`."""
        return self._ledger.runs

    @property
    def sweep(self) -> Recovery:
        """Finds jobs of any client that were lost on their way, and sends them again."""
        return Recovery(app=self.app, ledger=self._ledger)

    @property
    def broker_url(self) -> str:
        """Where the broker is; may hold a password, see `hide_password`."""
        return self._url

    def server(self) -> tuple[str, str]:
        """The broker's version and eviction policy; `redis.RedisError` when it does not answer."""
        return self._ledger.server_facts()

    def workers(self, timeout: float = 1.0) -> list[str]:
        """Names of the workers that answer within `timeout` seconds."""
        replies = self.app.control.ping(timeout=timeout) or []
        return sorted(name for reply in replies for name in reply)

    @property
    def queues(self) -> list[str]:
        """Names of all queues that there are for jobs, by `celeryconfig.py`."""
        return list(self._routes.requirements)

    def served_queues(self, timeout: float = 1.0) -> set[str]:
        """Names of the queues that workers take from which answer within `timeout` seconds."""
        replies = self.app.control.inspect(timeout=timeout).active_queues() or {}
        return {str(queue["name"]) for queues in replies.values() for queue in queues}

    def status(self) -> QueueStatus:
        """How all queues together stand; `redis.RedisError` when the broker does not answer."""
        return combine(self.statuses().values())

    def statuses(self) -> dict[str, QueueStatus]:
        """How each queue stands; `redis.RedisError` when the broker does not answer."""
        with redis.Redis.from_url(self._url, socket_timeout=10) as server:
            return queue_statuses(server, routes=self._routes)

    def pending(self) -> int:
        """How many jobs were submitted by any client and have no outcome yet."""
        return self._ledger.count_pending()

    def close(self) -> None:
        """Close the connections; whoever still waits gets a `CancelledError`."""
        self._waiter.close()
        self.app.close()
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _discard_pending(self, jobs: list[Job]) -> None:
        try:
            self._ledger.discard_pending(*jobs)
        except redis.RedisError:
            # The same outage: they were never pending, or the sweep finds them overdue.
            return


def celery_app(settings: ProducerSettings) -> Celery:
    """A Celery app with this project's settings; `SettingsError` on a wrong one."""
    register_signing(settings.signing)
    app = Celery("cutwork-producer", set_as_current=False)
    app.conf.update(celery_settings(settings))
    return app
