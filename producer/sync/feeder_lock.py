"""The lease of a run's feeder: a lock in Redis with an expiry, so that a run has one feeder."""

import os
import secrets
import socket
import time
from contextlib import suppress
from typing import Any, Final

import redis
from redis.exceptions import LockError
from redis.lock import Lock

from producer.store.runs import feeder_key
from producer.store.unreadable_run import is_of_another_type

_LOCK_SECONDS: Final = 15
_MAX_PID: Final = 2**22
"""The highest process id that Linux gives; `os.kill` refuses much larger numbers."""


class FeederRunning(RuntimeError):
    """Another process feeds this run."""

    def __init__(self, run: str, sentence: str) -> None:
        super().__init__(f"run {run} {sentence}")
        self.run = run


class FeederLock:
    """The lock of one run, held by this process.

    It only saves work. Correctness with two feeders rests on the cursor, which only one can move.
    """

    def __init__(self, server: redis.Redis, run: str) -> None:
        """Acquire the lock, if need be from a dead process of this machine.

        Raises `FeederRunning` if another process holds it.
        """
        self._run = run
        key, host, pid = feeder_key(run), socket.gethostname(), os.getpid()
        holder = _read_holder(server, key)
        self._lock = Lock(server, key, timeout=_LOCK_SECONDS, blocking=False, thread_local=False)
        if holder and _is_dead(str(holder), host=host, pid=pid):
            self._lock.local.token = str(holder).encode()
            with suppress(LockError):  # Another process has released it already.
                self._lock.release()
        self._token = f"{host}/{pid}/{secrets.token_hex(4)}"
        if not self._lock.acquire(token=self._token):
            raise FeederRunning(run, f"is fed by a process on {str(holder).partition('/')[0]}")
        self._extended = time.monotonic()

    def extend(self, *, force: bool = False) -> None:
        """Extend the lock if a third of its 15 seconds has passed, or at once with `force`.

        Raises `FeederRunning` if another process has acquired it meanwhile.
        """
        if not force and time.monotonic() - self._extended < _LOCK_SECONDS / 3:
            return
        try:
            self._lock.reacquire()
        except LockError as error:
            # A restarted broker may have lost the lock; acquire it again unless another feeder has.
            if not self._lock.acquire(token=self._token):
                raise FeederRunning(self._run, "is now fed by another process") from error
        self._extended = time.monotonic()

    def release(self) -> None:
        """Release the lock if this process holds it and Redis answers; otherwise it expires."""
        with suppress(LockError, redis.RedisError):
            self._lock.release()


def _read_holder(server: redis.Redis, key: str) -> str | None:
    """Return the text of the lock; one that no feeder wrote is bounded to a lock's time.

    A lock without an expiry, or with a longer one, would be held for ever.
    """
    left: Any = server.ttl(key)
    if left == -1 or left > _LOCK_SECONDS:
        server.expire(key, _LOCK_SECONDS)
    try:
        holder: Any = server.get(key)
    except redis.ResponseError as error:
        if not is_of_another_type(error):
            raise
        return "an unknown host"  # Another program wrote this value; it expires.
    return None if holder is None else str(holder)


def _is_dead(holder: str, *, host: str, pid: int) -> bool:
    """Return whether the holder `host/pid/token` is a process of this machine that has ended."""
    name, _, rest = holder.partition("/")
    number = rest.partition("/")[0]
    if name != host or not number.isdecimal():
        return False
    if len(number) > len(str(_MAX_PID)) or not 0 < int(number) <= _MAX_PID:
        return True  # No process of this machine has this number.
    if int(number) == pid:
        return True  # An earlier container of the same name: this process has no lock yet.
    try:
        os.kill(int(number), 0)
    except OSError as error:  # A process of another user raises `PermissionError`.
        return isinstance(error, ProcessLookupError)
    return False
