"""What the threads of a process work on, and for how long: bookkeeping for the watchdog."""

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from math import inf
from typing import Final, NamedTuple

from worker.errors import StageTimeout

_HARD_FACTOR: Final = 1.5
"""A stage that takes this many times its limit ends the process."""


@dataclass(eq=False)
class Part:
    """A stage, a device call or a wait of one thread. All times are in seconds."""

    name: str
    """The stage, or a noun phrase that names the call."""
    _: KW_ONLY
    limit: float
    """From then on the part is overdue; infinite for a wait."""
    is_call: bool
    """Whether it is a device call, whose thread nothing but the end of the process frees."""
    resumed_at: float
    ran_before: float = 0.0
    """Time up to the last interruption by a nested part."""

    @property
    def hard_limit(self) -> float:
        """The time after which the process ends."""
        return self.limit if self.is_call else _HARD_FACTOR * self.limit


@dataclass(eq=False)
class Activity:
    """The nested parts of one thread's work, of which only the innermost is timed."""

    job_id: str | None = None
    """None for a device call outside a job."""
    parts: list[Part] = field(default_factory=list)
    timed_out: Part | None = None
    """A stage that was overdue: the job ends before its next one."""

    def __str__(self) -> str:
        part = self.current
        return part.name if part.is_call else f"job {self.job_id}: the stage {part.name}"

    @property
    def current(self) -> Part:
        """The part that is timed."""
        return self.parts[-1]

    @property
    def stage(self) -> str:
        """The innermost stage; empty outside a job."""
        return next((part.name for part in reversed(self.parts) if not part.is_call), "")

    @property
    def hang_reason(self) -> str:
        """The sentence that names the current part as the reason for the end of the process."""
        part = self.current
        if part.is_call:
            return (
                f"{self} has not answered for {part.limit:g} s (CUTWORK_DEVICE_TIMEOUT): it hangs"
            )
        return (
            f"{self} has not ended within {part.hard_limit:g} s, {_HARD_FACTOR:g} times "
            "CUTWORK_STAGE_TIMEOUT: it hangs"
        )

    def begin(self, name: str, *, now: float, limit: float, is_call: bool) -> None:
        """Suspend the current part in favour of a nested one."""
        if self.parts:
            self.current.ran_before = self.elapsed(now)
        self.parts.append(Part(name, limit=limit, is_call=is_call, resumed_at=now))

    def end(self, now: float) -> None:
        """Remove the current part and resume the one around it."""
        self.parts.pop()
        if self.parts:
            self.current.resumed_at = now

    def restart(self, now: float) -> None:
        """Time the current part from zero; `now` may lie in the future."""
        self.current.resumed_at, self.current.ran_before = now, 0.0

    def check(self) -> None:
        """Raise `StageTimeout` if a stage was found overdue."""
        if self.timed_out is not None:
            raise StageTimeout(
                f"expected the stage {self.timed_out.name} to end within {self.timed_out.limit:g} "
                "s (CUTWORK_STAGE_TIMEOUT), found that it took longer; try the image alone with "
                "`python -m worker segment --profile`, and raise the variable if it is a good one"
            )

    def elapsed(self, now: float) -> float:
        """Return for how long the current part has run."""
        return self.current.ran_before + now - self.current.resumed_at

    def is_overdue(self, now: float) -> bool:
        """Return whether the current part has exceeded its limit."""
        return self.elapsed(now) >= self.current.limit

    def is_hung(self, now: float) -> bool:
        """Return whether only the end of the process can end the current part."""
        return self.elapsed(now) >= self.current.hard_limit


class Hang(NamedTuple):
    """Why a process has to end."""

    reason: str
    jobs: dict[str, str]
    """The jobs that may have caused it, by id, and the stage of each."""
    is_call: bool
    """Whether the device hangs or is lost, not a stage."""


def find_hang(activities: Sequence[Activity], now: float) -> Hang | None:
    """Mark the activities whose stage is overdue; return why the process has to end, if it has."""
    for one in activities:
        if one.is_overdue(now) and not one.current.is_call:
            one.timed_out = one.current
    hung = next((one for one in activities if one.is_hung(now)), None)
    if hung is None:
        return None
    return Hang(hung.hang_reason, suspects(activities, hung, now), is_call=hung.current.is_call)


def find_overdue_call(activities: Sequence[Activity], now: float) -> str | None:
    """Return the description of a device call that is past its limit."""
    calls = (one for one in activities if one.current.is_call)
    return next((str(one) for one in calls if one.is_overdue(now)), None)


def find_overdue_stage(activities: Sequence[Activity]) -> str | None:
    """Return the description of a stage that was found overdue and goes on."""
    return next((str(one) for one in activities if one.timed_out is one.current), None)


def suspects(activities: Sequence[Activity], hung: Activity, now: float) -> dict[str, str]:
    """Return the jobs that may be why an activity hangs, by id, and the stage of each.

    They are those that are overdue too. A device runs the images of several jobs at once, so if the
    hung one is at the stage `model`, all jobs at that stage are suspects.
    """
    return _stages(
        one
        for one in activities
        if one is hung or one.is_overdue(now) or hung.stage == one.stage == "model"
    )


def find_stuck(activities: Sequence[Activity], now: float, seconds: float) -> dict[str, str]:
    """Return the jobs whose stage or device call has run for `seconds`, by id, and the stage."""
    return _stages(
        one for one in activities if one.current.limit < inf and one.elapsed(now) >= seconds
    )


def _stages(activities: Iterable[Activity]) -> dict[str, str]:
    return {one.job_id: one.stage for one in activities if one.job_id is not None}
