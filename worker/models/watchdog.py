"""End a process whose device does not answer: nothing else brings its jobs back."""

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, NoReturn

from producer.observability.events import NO_EVENTS, Events

log = logging.getLogger(__name__)

EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""
LAST_WORDS: Final = 5.0
"""Seconds that the log line and `Events.process_ends` may take together."""

_TICK: Final = 5.0
"""Longest seconds between two looks at the clock."""
_STDERR: Final = 2

Watching = Callable[[str], AbstractContextManager[None]]
"""Makes a block during which something, said in words, must answer."""


class DeviceLost(Exception):
    """Nothing will run on this device again in this process; the text is the library's own."""


def unwatched(_what: str) -> AbstractContextManager[None]:
    """A block nobody watches."""
    return nullcontext()


class Watchdog:
    """A bound on each call of a device, kept by one thread; past it the process ends.

    A hung call cannot be taken back, and its thread holds what no other may use. Ended, the process
    loses nothing: its messages are unacknowledged. Seconds in which the process was stopped
    (SIGSTOP, a frozen container) do not count.

    A call that hangs with the interpreter's lock held stops this thread too. faulthandler's timer,
    which needs no lock, then ends the process with code 1 and a traceback, after twice the time;
    also one that was frozen for so long in the middle of a call. It has one timer a process:
    nothing else here may use `faulthandler.dump_traceback_later`.
    """

    def __init__(self, *, timeout: float, events: Events = NO_EVENTS) -> None:
        """`timeout` in seconds; `events` learns of the end, and may take a few seconds for it."""
        self._timeout = timeout
        self._events = events
        self._tick = min(timeout / 10, _TICK)
        self._changed = threading.Condition()
        self._watched: dict[object, tuple[str, float]] = {}
        self._stopped = 0.0
        self._armed = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, what: str) -> Iterator[None]:
        """End the process if the block takes longer than the timeout, or raises `DeviceLost`.

        `what` is a noun phrase with the model and the device.
        """
        token = object()
        with self._changed:
            if not self._watched:
                self._start()
            self._watched[token] = (what, self._now() + self._timeout)
        try:
            yield
        except DeviceLost as error:
            self._end(f"{what}: the device is lost, and nothing runs on it again here ({error})")
        finally:
            with self._changed:
                del self._watched[token]

    def overdue(self) -> str | None:
        """What should have answered by now, and is why this process is about to end."""
        with self._changed:
            return self._overdue()

    def _overdue(self) -> str | None:
        return next((what for what, end in self._watched.values() if end <= self._now()), None)

    def _now(self) -> float:
        return time.monotonic() - self._stopped

    def _start(self) -> None:
        """Have the thread look, and arm the timer it keeps winding up; with the lock held."""
        if not self._armed:
            self._arm(2 * self._timeout)
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _arm(self, seconds: float) -> None:
        try:
            faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
            self._armed = True
        except RuntimeError:
            self._armed = False  # No memory for its thread. This thread looks all the same.

    def _watch(self) -> None:
        late = self._wait_until_late()
        self._end(
            f"{late} has not answered for {self._timeout:g} s (CUTWORK_DEVICE_TIMEOUT): it hangs"
        )

    def _wait_until_late(self) -> str:
        with self._changed:
            while True:
                if not self._watched:
                    faulthandler.cancel_dump_traceback_later()
                    self._armed = False
                    self._changed.wait()
                    continue
                # Wound up here and not for every batch: each time costs a thread.
                self._arm(2 * self._timeout)
                began = time.monotonic()
                nearest = min(end for _, end in self._watched.values()) - self._now()
                wanted = max(0.0, min(self._tick, nearest))
                self._changed.wait(wanted)
                overslept = time.monotonic() - began - wanted
                if overslept > 2 * self._tick:
                    self._stopped += overslept
                if (late := self._overdue()) is not None:
                    return late

    def _end(self, sentence: str) -> NoReturn:
        """Say why, let the jobs go, and end this process without waiting for anything in it."""

        def last_words() -> None:
            log.critical(
                "%s. This process ends with code %d; its jobs are unacknowledged, and go back to "
                "the queue",
                *(sentence, EXIT_CODE),
            )
            self._events.process_ends()

        self._arm(2 * LAST_WORDS)
        # In a thread of their own: what hangs may hold a lock that they need.
        thread = threading.Thread(target=last_words, name="last words", daemon=True)
        try:
            thread.start()
            thread.join(LAST_WORDS)
            faulthandler.dump_traceback(_STDERR)
        finally:
            os._exit(EXIT_CODE)
