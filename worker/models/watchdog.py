"""Limit the time of stages and device calls; end the process when one of them hangs."""

import faulthandler
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Final, NoReturn

from producer.observability.events import NO_EVENTS, Events
from worker.models.activity import (
    Activity,
    Hang,
    find_hang,
    find_overdue_call,
    find_overdue_stage,
    find_stuck,
    suspects,
)
from worker.models.process_end import STDERR, end_process

_MAX_INTERVAL: Final = 5.0
"""Longest seconds between two checks of the limits."""
_UNLIMITED_STAGES: Final = ("wait", "model")
"""Stages in which a job waits for others; the device call in `model` has a limit of its own."""
Watch = Callable[[str], AbstractContextManager[object]]
"""Makes a context manager around a stage, or around a device call that the text describes;
`nullcontext` for none."""

_current: ContextVar["tuple[Watchdog, Activity] | None"] = ContextVar("activity", default=None)
"""What the current thread works on."""


class DeviceLost(Exception):
    """The device accepts no more calls from this process; the text is the library's own."""


class Watchdog:
    """Time limits for the stages of every job and for every device call, enforced by one thread.

    A job whose stage exceeds its limit ends with `StageTimeout` before its next stage. Code that
    does not return cannot be interrupted, and its thread holds locks that other threads need. After
    1.5 times the limit of a stage, or at once after that of a device call, the process therefore
    ends. That loses nothing, because its messages are unacknowledged. Only the innermost of nested
    stages and calls is timed. Waiting does not count, nor time in which the whole process was
    stopped (SIGSTOP, a frozen container).

    Code that hangs while it holds the GIL stops this thread too. For that case faulthandler's
    timer, which needs no GIL, ends the process with code 1 and a traceback after twice the limit.
    It also ends a process that was frozen for that long in the middle of a job. There is one such
    timer per process: no other code may use `faulthandler.dump_traceback_later`.
    """

    def __init__(
        self,
        *,
        device_timeout: float,
        stage_timeout: float = math.inf,
        events: Events = NO_EVENTS,
        end: Callable[[Hang], NoReturn] | None = None,
    ) -> None:
        """Timeouts in seconds; `events.process_ends` may take a few seconds before the end.

        `end` ends the process in another way than `end_process`, which is for workers.
        """
        self.events = events
        self._end_by = end
        self._device_timeout = device_timeout
        self._stage_timeout = stage_timeout
        self._interval = min(device_timeout / 10, stage_timeout / 10, _MAX_INTERVAL)
        self._changed = threading.Condition()
        self._activities: list[Activity] = []
        """What every thread works on now."""
        self._stopped_seconds = 0.0
        self._armed_seconds = 0.0
        """What faulthandler's timer was set to; 0 while it is off."""
        self._is_ending = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def job(self, job_id: str) -> Iterator[Watch]:
        """Yield a function that limits the time of each stage of a job, for one thread.

        Its context manager raises `StageTimeout` before the block if an earlier stage was overdue.
        What the job does outside all stages counts as one more, `checks`.
        """
        activity = Activity(job_id=job_id)
        with _working_on(self, activity), self._stage(activity, "checks"):
            yield partial(self._stage, activity)

    @contextmanager
    def watch(self, call: str) -> Iterator[None]:
        """End the process if the block exceeds the device's timeout or raises `DeviceLost`.

        `call` is a noun phrase that names the model and the device.
        """
        _, activity = _current.get() or (self, Activity())
        try:
            with self._part(activity, call, self._device_timeout, is_call=True):
                yield
        except DeviceLost as error:
            with self._changed:
                jobs = suspects(self._activities, activity, self._now())
            reason = f"the device is lost, and nothing runs on it again here ({error})"
            self._end(Hang(f"{call}: {reason}", jobs, is_call=True))

    def overdue_call(self) -> str | None:
        """Return the description of a device call past its limit, for which this process ends."""
        with self._changed:
            return find_overdue_call(self._activities, self._now())

    def overdue_stage(self) -> str | None:
        """Return the description of a stage that was found to be past its limit and goes on."""
        with self._changed:
            return find_overdue_stage(self._activities)

    def stuck_jobs(self, seconds: float) -> dict[str, str]:
        """Return the jobs whose stage or device call has run for `seconds`: its name by job id."""
        with self._changed:
            return find_stuck(self._activities, self._now(), seconds)

    def check(self) -> Hang | None:
        """Mark jobs whose stage is overdue; return why this process has to end, None if not."""
        with self._changed:
            return find_hang(self._activities, self._now())

    def _now(self) -> float:
        """Return monotonic seconds without those in which the process was stopped."""
        return time.monotonic() - self._stopped_seconds

    def _stage(self, activity: Activity, name: str) -> AbstractContextManager[None]:
        activity.check()
        limit = math.inf if name in _UNLIMITED_STAGES else self._stage_timeout
        return self._part(activity, name, limit)

    @contextmanager
    def _part(
        self, activity: Activity, name: str, limit: float, *, is_call: bool = False
    ) -> Iterator[None]:
        """Time a part of an activity, which is known to the thread while it has any."""
        with self._changed:
            if not activity.parts:
                self._activities.append(activity)
            activity.begin(name, now=self._now(), limit=limit, is_call=is_call)
            self._rearm()
        try:
            yield
        finally:
            with self._changed:
                activity.end(now=self._now())
                if not activity.parts:
                    self._activities.remove(activity)
                else:
                    self._rearm()

    def _rearm(self) -> None:
        """Start the thread and faulthandler's timer, or change the timer to what is watched now.

        Call with the lock held.
        """
        if self._armed_seconds != self._gil_limit() and not self._is_ending:
            was_idle = not self._armed_seconds
            self._arm(self._gil_limit())
            if self._thread is None:
                self._thread = threading.Thread(target=self._enforce, name="watchdog", daemon=True)
                self._thread.start()
            elif was_idle:
                self._changed.notify()

    def _gil_limit(self) -> float:
        """Return after how many seconds without this class's thread the process ends."""
        is_calling = any(one.current.is_call for one in self._activities)
        if self._stage_timeout == math.inf:
            return 2 * self._device_timeout
        return 2 * max(self._stage_timeout, self._device_timeout if is_calling else 0)

    def _arm(self, seconds: float) -> None:
        try:
            faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)
            self._armed_seconds = seconds
        except RuntimeError:
            self._armed_seconds = 0.0  # No memory for the timer's thread. This thread still checks.

    def _enforce(self) -> None:
        while (hang := self.check()) is None:
            with self._changed:
                # The timer is set here and not for every stage, because each time starts a thread.
                self._arm(self._gil_limit())
                started = time.monotonic()
                self._changed.wait(self._interval)
                overslept = time.monotonic() - started - self._interval
                if overslept > 2 * self._interval:
                    self._stopped_seconds += overslept
                if not self._activities:
                    faulthandler.cancel_dump_traceback_later()
                    self._armed_seconds = 0.0
                    self._changed.wait()
        self._end(hang)

    def _end(self, hang: Hang) -> NoReturn:
        self._is_ending = True
        if self._end_by is not None:
            self._end_by(hang)
        end_process(hang.reason, hang.jobs, events=self.events)


def waiting() -> AbstractContextManager[None]:
    """Return a context manager in which the current thread's job waits for others, untimed."""
    if (current := _current.get()) is None:
        return nullcontext()
    watchdog, activity = current
    return watchdog._part(activity, "wait", math.inf)


def restart_clock(*, extra: float = 0.0) -> None:
    """Time the current stage from now on, because it makes progress.

    `extra`: seconds that the next step may take in addition to the stage's limit, because it has a
    longer timeout of its own. Does nothing outside a job.
    """
    if (current := _current.get()) is not None:
        watchdog, activity = current
        with watchdog._changed:
            activity.restart(watchdog._now() + extra)


@contextmanager
def _working_on(watchdog: Watchdog, activity: Activity) -> Iterator[None]:
    token = _current.set((watchdog, activity))
    try:
        yield
    finally:
        _current.reset(token)
