"""The liveness and readiness of a worker, for the probes of a supervisor."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from producer.config.broker_url import failure_verb

_PING_SECONDS: Final = 2.0
"""Shorter than the timeout of a usual probe."""


class Check(NamedTuple):
    """The result of one check."""

    name: str
    ok: bool
    text: str


class Health:
    """The health of one process. Thread-safe."""

    def __init__(
        self,
        *,
        check_broker: Callable[[], Check],
        find_overdue_call: Callable[[], str | None],
        find_overdue_stage: Callable[[], str | None],
        is_stopping: Callable[[], bool],
        loop_timeout: float,
    ) -> None:
        """`find_overdue_call` names a call that a device should have answered by now, if any.

        `find_overdue_stage` names a job and its stage that should have ended by now, if any.

        `is_stopping`: whether the worker takes no more jobs. `loop_timeout`: the longest turn of
        the main loop, in seconds, while the broker answers.
        """
        self._check_broker = check_broker
        self._find_overdue_call = find_overdue_call
        self._find_overdue_stage = find_overdue_stage
        self._is_stopping = is_stopping
        self._loop_timeout = loop_timeout
        self._start_step: str | None = "reads its settings"
        self._last_turn: float | None = None

    def begin_step(self, step: str) -> None:
        """Record the current step of the start, such as `loads isnet-general-use`."""
        self._start_step = step

    def finish_start(self) -> None:
        """Record that the worker is ready for jobs."""
        self._start_step = None
        self.record_loop_turn()

    def record_loop_turn(self) -> None:
        """Record that the main loop has begun another turn."""
        self._last_turn = time.monotonic()

    def liveness(self) -> list[Check]:
        """Return the checks that fail only if a restart is the remedy."""
        return [self._check_device(), self._check_stages(), self._check_loop()]

    def readiness(self) -> list[Check]:
        """Return the checks that all pass while the worker takes jobs."""
        step, is_stopping = self._start_step, self._is_stopping()
        return [
            Check("start", step is None, step or "models loaded, kernels compiled"),
            Check("drain", not is_stopping, "takes no more jobs" if is_stopping else "takes jobs"),
            self._check_broker(),
            *self.liveness(),
        ]

    def _check_device(self) -> Check:
        overdue = self._find_overdue_call()
        text = f"{overdue} has not answered in time" if overdue else "answers"
        return Check("device", overdue is None, text)

    def _check_stages(self) -> Check:
        overdue = self._find_overdue_stage()
        text = f"{overdue} has not ended in time" if overdue else "end in time"
        return Check("stages", overdue is None, text)

    def _check_loop(self) -> Check:
        """Check Celery's main loop, which may stand still while it ends or waits for the broker."""
        if self._last_turn is None:
            return Check("loop", True, "has not begun")
        if self._is_stopping():
            return Check("loop", True, "ends")
        seconds = time.monotonic() - self._last_turn
        if seconds <= self._loop_timeout:
            return Check("loop", True, "runs")
        if not self._check_broker().ok:
            self.record_loop_turn()  # The timeout begins again, so that Celery can reconnect.
            return Check("loop", True, "waits for the broker")
        return Check("loop", False, f"stands still for {seconds:.0f} s, though the broker answers")


def broker_check(url: str) -> Callable[[], Check]:
    """Return a check that pings the broker over a connection of its own."""
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
