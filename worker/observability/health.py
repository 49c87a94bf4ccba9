"""Whether a worker can go on, and whether it takes jobs: what a supervisor's probes are told."""

import time
from collections.abc import Callable, Iterator
from threading import Lock
from typing import NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from producer.config.broker_url import failure_verb

_PING_SECONDS = 2.0
"""A probe waits some seconds; a broker that takes longer does not answer."""


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str


class Health:
    """The state of one process; safe to use from any thread."""

    def __init__(
        self,
        *,
        broker: Callable[[], Check],
        overdue: Callable[[], str | None],
        ending: Callable[[], bool],
        patience: float,
    ) -> None:
        """`overdue` names what a device should have answered by now; `ending`: nothing new begins.

        `patience`: seconds the main loop may take for a turn while the broker answers.
        """
        self._broker = broker
        self._overdue = overdue
        self._ending = ending
        self._patience = patience
        self._lock = Lock()
        self._starting: str | None = "reads its settings"
        self._turned: float | None = None

    def starts(self, what: str) -> None:
        """Note what keeps the worker from taking jobs, such as `loads isnet-general-use`."""
        self._starting = what

    def takes_jobs(self) -> None:
        """Note that the start is over."""
        self._starting = None
        self.turned()

    def turned(self) -> None:
        """Note that the main loop took a turn."""
        with self._lock:
            self._turned = time.monotonic()

    def alive(self) -> list[Check]:
        """Whether this process can go on; if not, only an end of it helps."""
        return [self._device(), self._loop()]

    def ready(self) -> list[Check]:
        """Whether it takes jobs now."""
        return list(self._all())

    def _all(self) -> Iterator[Check]:
        starting, ending = self._starting, self._ending()
        yield Check("start", starting is None, starting or "models loaded, kernels compiled")
        yield Check("drain", not ending, "takes nothing new" if ending else "takes jobs")
        yield self._broker()
        yield from self.alive()

    def _device(self) -> Check:
        late = self._overdue()
        found = f"{late} has not answered in time" if late else "answers"
        return Check("device", late is None, found)

    def _loop(self) -> Check:
        """Celery's main loop. While it ends, or waits for the broker, it rightly stands still."""
        with self._lock:
            turned = self._turned
        if turned is None:
            return Check("loop", True, "has not begun")
        if self._ending():
            return Check("loop", True, "ends")
        still = time.monotonic() - turned
        if still <= self._patience:
            return Check("loop", True, "takes turns")
        if not self._broker().ok:
            self.turned()  # Once the broker is back it has as long again.
            return Check("loop", True, "waits for the broker")
        return Check("loop", False, f"took no turn for {still:.0f} s, though the broker answers")


def broker_check(url: str) -> Callable[[], Check]:
    """Asks the broker for an answer, over a connection of its own."""
    server = redis.Redis.from_url(
        url,
        socket_timeout=_PING_SECONDS,
        socket_connect_timeout=_PING_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )

    def check() -> Check:
        try:
            server.ping()
        except redis.RedisError as error:
            return Check("broker", False, failure_verb(error))
        return Check("broker", True, "answers")

    return check
