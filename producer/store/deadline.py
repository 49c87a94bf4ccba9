"""One bound on the time that a caller waits for Redis, whatever Redis or the network does.

redis-py's timeouts bound one read, and its retries multiply them: a server that sends a byte a
second is never noticed. Inside `deadline` every connection made here, those of kombu included,
shares what is left of one span of time: name resolution, connecting, TLS, each read and write, and
the pauses between attempts. Outside it the connections behave as redis-py's own.
"""

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, TypeVar

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthorizationError
from redis.retry import Retry

T = TypeVar("T")

_ATTEMPTS: Final = 3
"""A silent connection uses at most this part of the time, so that another one can be tried."""
_LONGEST_PAUSE: Final = 0.5
TRANSIENT: Final = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, OSError)
"""Errors of an outage or a failover: the same command may succeed a moment later."""


class _Deadline(NamedTuple):
    end: float
    attempt: float


_current: ContextVar[_Deadline | None] = ContextVar("broker_deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Bound all Redis commands of this thread inside the block to `seconds` together."""
    own = _Deadline(time.monotonic() + seconds, seconds / _ATTEMPTS)
    outer = _current.get()
    token = _current.set(own if outer is None or own.end < outer.end else outer)
    try:
        yield
    finally:
        _current.reset(token)


def seconds_left() -> float:
    """Return the seconds until the deadline, not below 0; infinity if there is none."""
    current = _current.get()
    return math.inf if current is None else max(0.0, current.end - time.monotonic())


def retry_until_deadline(call: Callable[[], T], errors: tuple[type[Exception], ...]) -> T:
    """Return the result of `call`; inside a deadline, retry on `errors` while there is time."""
    for attempt in range(1_000_000):  # pragma: no branch
        try:
            return call()
        except errors as error:
            pause = min(_LONGEST_PAUSE, 0.05 * 2 ** min(attempt, 10))
            if is_permanent(error) or not pause < seconds_left() < math.inf:
                raise
            time.sleep(pause)
    raise AssertionError("unreachable")


def is_permanent(error: Exception) -> bool:
    """Return whether another attempt would fail like this one: Redis refuses the command."""
    is_own = isinstance(error, redis.RedisError) or error.__cause__ is None
    cause = error if is_own else error.__cause__
    if isinstance(cause, redis.AuthenticationError | AuthorizationError):
        return True
    return isinstance(cause, redis.ResponseError) and not isinstance(cause, redis.ReadOnlyError)


class DeadlineRetry(Retry):
    """redis-py's retries, which inside a deadline end with it instead of with their number."""

    def call_with_retry(self, do: Any, fail: Any, *arguments: Any, **options: Any) -> Any:
        """Return the result of `do`, calling `fail` with each error; see redis-py."""
        if seconds_left() == math.inf:
            return super().call_with_retry(do, fail, *arguments, **options)

        def attempt() -> Any:
            try:
                return do()
            except self._supported_errors as error:
                fail(error, 0) if options.get("with_failure_count") else fail(error)
                raise

        return retry_until_deadline(attempt, self._supported_errors)


class _DeadlineSocket:
    """A socket whose reads and writes end at the deadline of the thread that makes them."""

    def __init__(self, own: socket.socket, timeout: float | None) -> None:
        self._own = own
        self._timeout = timeout
        own.settimeout(timeout)

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._own.settimeout(timeout)

    def gettimeout(self) -> float | None:
        return self._timeout

    def recv(self, *arguments: Any) -> bytes:
        self._limit()
        return self._own.recv(*arguments)

    def recv_into(self, *arguments: Any) -> int:
        self._limit()
        return self._own.recv_into(*arguments)

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._limit()
            rest = rest[self._own.send(rest) :]

    def _limit(self) -> None:
        if self._timeout != 0:  # else the caller does not wait at all
            self._own.settimeout(limit(self._timeout))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


def limit(timeout: float | None) -> float | None:
    """Return the timeout of one step, which ends at the deadline; raise `TimeoutError` there."""
    current = _current.get()
    if current is None:
        return timeout
    left = seconds_left()
    if left <= 0:
        raise TimeoutError("no complete answer within the time")
    return min(left, current.attempt, math.inf if timeout is None else timeout)


class _Connecting:
    """What both kinds of connection add to redis-py's: connecting ends at the deadline too."""

    def _connect(self: Any) -> Any:
        timeouts = self.socket_timeout, self.socket_connect_timeout
        if _current.get() is not None:
            count = _resolve(self.host, self.port, limit(None) or 0)
            self.socket_timeout = limit(timeouts[0])
            self.socket_connect_timeout = (limit(timeouts[1]) or 0) / count
        try:
            own = super()._connect()  # type: ignore[misc]  # of redis-py's connections
        finally:
            self.socket_timeout, self.socket_connect_timeout = timeouts
        return _DeadlineSocket(own, self.socket_timeout)


class DeadlineConnection(_Connecting, redis.Connection):  # type: ignore[misc]  # `_connect` is untyped there
    """A TCP connection that observes the deadline of the thread that uses it."""


class DeadlineTLSConnection(_Connecting, redis.SSLConnection):  # type: ignore[misc]  # `_connect` is untyped there
    """A TLS connection that observes the deadline of the thread that uses it."""


def _resolve(host: str, port: int, seconds: float) -> int:
    """Return the number of a host's addresses, found within `seconds`; raise `OSError`.

    The system's resolver has timeouts of its own, which add up to half a minute.
    """
    found: list[int | OSError] = []

    def look_up() -> None:
        try:
            found.append(len(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=look_up, name="cutwork-resolver", daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise TimeoutError(f"the address of {host} was not found within the time")
    if isinstance(found[0], OSError):
        raise found[0]
    return max(1, found[0])


def open_redis(url: str, *, timeout: float, retries: int, **options: Any) -> redis.Redis:
    """Return a client of Redis; the first command connects.

    `timeout`: seconds without a reply after which a connection is closed. `retries`: how often a
    command is retried outside a deadline.
    """
    is_tls = url.startswith("rediss:")
    return redis.Redis.from_url(
        url,
        connection_class=DeadlineTLSConnection if is_tls else DeadlineConnection,
        socket_connect_timeout=min(5, timeout),
        socket_timeout=timeout,
        socket_keepalive=True,
        health_check_interval=timeout,
        retry=DeadlineRetry(ExponentialBackoff(cap=2, base=0.1), retries=retries),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError],
        **options,
    )
