"""One feeder a run: a lock in Redis that outlives neither its process nor a restart."""

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

_LOCK_SECONDS: Final = 15


class FeederRunning(RuntimeError):
    """Another process feeds this run now."""

    def __init__(self, run: str, sentence: str) -> None:
        super().__init__(f"run {run} {sentence}")
        self.run = run


class FeederLock:
    """The lock of one run as this process holds it.

    It is a courtesy: what makes two feeders harmless is the cursor, which only one can move.
    """

    def __init__(self, server: redis.Redis, run: str) -> None:
        """Take the lock, also from a dead process of this machine.

        Raises `FeederRunning` if another process holds it.
        """
        self._run = run
        key, host, pid = feeder_key(run), socket.gethostname(), os.getpid()
        holder: Any = server.get(key)
        self._lock: Lock = server.lock(
            key, timeout=_LOCK_SECONDS, blocking=False, thread_local=False
        )
        if holder and _is_dead(str(holder), host=host, pid=pid):
            self._lock.local.token = str(holder).encode()
            with suppress(LockError):  # Somebody else was quicker.
                self._lock.release()
        self._token = f"{host}/{pid}/{secrets.token_hex(4)}"
        if not self._lock.acquire(token=self._token):
            raise FeederRunning(run, f"is fed by a process on {str(holder).partition('/')[0]}")
        self._extended = time.monotonic()

    def extend(self, *, force: bool = False) -> None:
        """Extend the lock when a third of its time has passed, or with `force` at once.

        Raises `FeederRunning` if another process has taken it.
        """
        if not force and time.monotonic() - self._extended < _LOCK_SECONDS / 3:
            return
        try:
            self._lock.reacquire()
        except LockError as error:
            # A restarted broker may have forgotten it. If another feeder has it, that goes on.
            if not self._lock.acquire(token=self._token):
                raise FeederRunning(self._run, "is now fed by another process") from error
        self._extended = time.monotonic()

    def release(self) -> None:
        """Let it go; one that is another's, or that nobody can reach, runs out by itself."""
        with suppress(LockError, redis.RedisError):
            self._lock.release()


def _is_dead(holder: str, *, host: str, pid: int) -> bool:
    """Whether the process that held a lock was of this machine, and is no more."""
    name, _, rest = holder.partition("/")
    number = rest.partition("/")[0]
    if name != host or not number.isdecimal():
        return False
    if int(number) == pid:
        return True  # An earlier container of the same name: this process holds none yet.
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
