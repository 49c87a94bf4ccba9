"""What a client holds open in one process, and how its errors are reported."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import redis
from celery import Celery
from kombu import Connection
from kombu.exceptions import KombuError
from kombu.transport import redis as kombu_redis

from producer.client.errors import BrokerUnavailable, ClientClosed
from producer.client.runs import ClientRuns
from producer.client.sender import Sender
from producer.config.broker_url import failure_advice, failure_verb
from producer.config.settings import ProducerSettings, celery_settings
from producer.config.signing import register_signing
from producer.contract.errors import CutworkError
from producer.contract.job import Job
from producer.contract.validation_errors import hide_password
from producer.store.deadline import (
    TRANSIENT,
    DeadlineConnection,
    DeadlineTLSConnection,
    deadline,
    retry_until_deadline,
)
from producer.store.ledger import Ledger
from producer.store.publish import publish
from producer.store.waiter import OutcomeWaiter

GROUP: Final = 100
"""Jobs sent together. All of them are pending before the first one is sent, so a larger group would
give a recovery time to find the last ones lost."""

_NO_PAUSES: Final = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}
"""kombu's own attempts to connect, which would pause for seconds whatever the deadline: none."""


class _Channel(kombu_redis.Channel):
    """kombu's channel over connections that observe the deadline of a call."""

    connection_class = DeadlineConnection
    connection_class_ssl = DeadlineTLSConnection


class _Transport(kombu_redis.Transport):
    Channel = _Channel


class _ProducerApp(Celery):
    """A Celery app whose connections observe the deadline of a call."""

    def connection_for_write(self, *arguments: Any, **options: Any) -> Connection:
        """Return a connection for sending, like Celery's own."""
        connection = super().connection_for_write(*arguments, **options)
        connection.transport_cls = _Transport  # type: ignore[assignment]  # a class will do
        return connection

    def connection_for_read(self, *arguments: Any, **options: Any) -> Connection:
        """Return a connection for receiving, like Celery's own."""
        connection = super().connection_for_read(*arguments, **options)
        connection.transport_cls = _Transport  # type: ignore[assignment]  # a class will do
        return connection


def celery_app(settings: ProducerSettings) -> Celery:
    """Return a Celery app with Cutwork's settings; raise `SettingsError` if one is wrong."""
    register_signing(settings.signing)
    app = _ProducerApp("cutwork-producer", set_as_current=False)
    app.conf.update(celery_settings(settings))
    app.conf.broker_transport_options |= _NO_PAUSES
    return app


class Connections:
    """The Celery app, the ledger and the threads of one client in one process. Thread-safe.

    A child process gets its own instance: a fork copies neither threads nor the state of locks.
    """

    def __init__(self, settings: ProducerSettings) -> None:
        self._settings = settings
        self.app = celery_app(settings)
        self.url = settings.broker_url
        self.timeout = float(self.app.conf.broker_transport_options["socket_timeout"])
        """Seconds within which every call of the client ends: `CUTWORK_BROKER_TIMEOUT`."""
        self.ledger = Ledger(self.url, timeout=self.timeout, signed=settings.signing is not None)
        self.waiter = OutcomeWaiter(
            self.ledger,
            timeout=self.timeout,
            outage=self.describe_outage,
            closed=ClientClosed("expected an open client, found that it was closed; open another"),
        )
        self.runs = ClientRuns(self.ledger.runs, asking=self.asking)
        self.sender = Sender(self._send, limit=GROUP)
        self._closed = threading.Event()

    def check_open(self) -> None:
        """Raise `ClientClosed` if the client was closed."""
        if self._closed.is_set():
            raise ClientClosed("expected an open client, found that it was closed; open another")

    @contextmanager
    def asking(self, *, more: float = 0) -> Iterator[None]:
        """Bound the time of the commands in the block, and raise their errors as our own.

        `more` is time that the block waits on purpose.
        """
        self.check_open()
        try:
            with deadline(self.timeout + more):
                yield
        except CutworkError:
            raise
        except (redis.RedisError, KombuError, OSError) as error:
            self.check_open()
            raise self.describe_outage(error) from error

    def describe_outage(self, error: Exception) -> BrokerUnavailable:
        """Return the exception for a broker that does not answer or refuses a command."""
        reason = error.__cause__ if isinstance(error, KombuError) and error.__cause__ else error
        return BrokerUnavailable(
            f"the broker at {hide_password(self.url)} {failure_verb(reason)} ({reason}); "
            f"{failure_advice(reason)}"
        )

    def send(self, jobs: Sequence[Job]) -> None:
        """Enqueue up to `GROUP` jobs; raise `BrokerUnavailable` if that fails."""
        self.check_open()
        self._send(jobs, seconds=self.timeout)

    def _send(self, jobs: Sequence[Job], *, seconds: float) -> None:
        """Enqueue jobs within `seconds`, also those that were queued before the client closed."""
        with deadline(seconds):
            try:
                self.ledger.add_pending(*jobs)
                retry_until_deadline(partial(publish, self.app, jobs), (KombuError, *TRANSIENT))
            except (KombuError, redis.RedisError, OSError) as error:
                # In the same outage. The recovery sends jobs that stay pending without a message.
                with suppress(redis.RedisError, OSError):
                    self.ledger.discard_pending(*jobs)
                self.check_open()
                raise self.describe_outage(error) from error

    def renewed(self) -> "Connections":
        """Return connections for the child process after a fork, closed if these are."""
        renewed = Connections(self._settings)
        if self._closed.is_set():
            renewed.close()
        return renewed

    def close(self) -> None:
        """Close the connections; callers that still wait get `ClientClosed`."""
        self._closed.set()
        self.sender.close()
        self.waiter.close()
        self.app.close()
        self.ledger.close()
