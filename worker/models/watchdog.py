"""End the process when a device call hangs: no other remedy returns its jobs to the queue."""

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, NoReturn

from producer.observability.events import NO_EVENTS, Events

log = logging.getLogger(__name__)

EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""
EXIT_SECONDS: Final = 5.0
"""Seconds that the log line and `Events.process_ends` may take together."""

_MAX_INTERVAL: Final = 5.0
"""Longest seconds between two checks of the deadlines."""
_STDERR: Final = 2

Watch = Callable[[str], AbstractContextManager[object]]
"""Makes a context manager around a device call that the text describes; `nullcontext` for none."""


class DeviceLost(Exception):
    """The device accepts no more calls from this process; the text is the library's own."""


class Watchdog:
    """A time limit for every device call, enforced by one thread; when it passes, the process ends.

    A call that hangs cannot be interrupted, and its thread holds locks that other threads need.
    Ending the process loses nothing, because its messages are unacknowledged. Time in which the
    whole process was stopped (SIGSTOP, a frozen container) does not count.

    A call that hangs while it holds the GIL stops this thread too. For that case faulthandler's
    timer, which needs no GIL, ends the process with code 1 and a traceback after twice the
    timeout. It also ends a process that was frozen for that long in the middle of a call. There is
    one such timer per process: no other code may use `faulthandler.dump_traceback_later`.
    """

    def __init__(self, *, timeout: float, events: Events = NO_EVENTS) -> None:
        """`timeout` in seconds; `events.process_ends` may take a few seconds before the end."""
        self._timeout = timeout
        self._events = events
        self._interval = min(timeout / 10, _MAX_INTERVAL)
        self._changed = threading.Condition()
        self._calls: dict[object, tuple[str, float]] = {}
        """Description and deadline of every running call."""
        self._stopped_seconds = 0.0
        self._is_armed = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, call: str) -> Iterator[None]:
        """End the process if the block exceeds the timeout or raises `DeviceLost`.

        `call` is a noun phrase that names the model and the device.
        """
        token = object()
        with self._changed:
            if not self._calls:
                self._start()
            self._calls[token] = (call, self._now() + self._timeout)
        try:
            yield
        except DeviceLost as error:
            self._end(f"{call}: the device is lost, and nothing runs on it again here ({error})")
        finally:
            with self._changed:
                del self._calls[token]

    def overdue_call(self) -> str | None:
        """Return the description of a call past its deadline, for which this process will end."""
        with self._changed:
            now = self._now()
            return next((call for call, deadline in self._calls.values() if deadline <= now), None)

    def _now(self) -> float:
        """Return monotonic seconds without those in which the process was stopped."""
        return time.monotonic() - self._stopped_seconds

    def _start(self) -> None:
        """Wake or start the thread and arm faulthandler's timer; call with the lock held."""
        if not self._is_armed:
            self._arm(2 * self._timeout)
        if self._thread is None:
            self._thread = threading.Thread(target=self._enforce, name="watchdog", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _arm(self, seconds: float) -> None:
        try:
            faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
            self._is_armed = True
        except RuntimeError:
            self._is_armed = False  # No memory for the timer's thread. This thread still checks.

    def _enforce(self) -> None:
        with self._changed:
            while (call := self.overdue_call()) is None:
                if not self._calls:
                    faulthandler.cancel_dump_traceback_later()
                    self._is_armed = False
                    self._changed.wait()
                    continue
                # Rearmed here and not for every batch, because each time starts a thread.
                self._arm(2 * self._timeout)
                started = time.monotonic()
                nearest = min(deadline for _, deadline in self._calls.values()) - self._now()
                pause = max(0.0, min(self._interval, nearest))
                self._changed.wait(pause)
                overslept = time.monotonic() - started - pause
                if overslept > 2 * self._interval:
                    self._stopped_seconds += overslept
        self._end(
            f"{call} has not answered for {self._timeout:g} s (CUTWORK_DEVICE_TIMEOUT): it hangs"
        )

    def _end(self, reason: str) -> NoReturn:
        """Log the reason, report to `events`, and end this process without waiting for threads."""

        def announce() -> None:
            log.critical(
                "%s. This process ends with code %d; its jobs are unacknowledged, and go back to "
                "the queue",
                *(reason, EXIT_CODE),
            )
            self._events.process_ends()

        self._arm(2 * EXIT_SECONDS)
        # In a thread of its own, because the call that hangs may hold a lock that it needs.
        thread = threading.Thread(target=announce, name="watchdog exit", daemon=True)
        try:
            thread.start()
            thread.join(EXIT_SECONDS)
            faulthandler.dump_traceback(_STDERR)
        finally:
            os._exit(EXIT_CODE)
