"""Worker processes as a cluster runs them on machines that may be taken away."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from deploy.child import Child

_GRACE_SECONDS: Final = 10.0
"""Of a worker that is no longer wanted: until it has ended by itself, more than it may take."""


@dataclass(frozen=True, kw_only=True)
class Hazard:
    """How machines are taken away."""

    lifetimes: Iterator[float]
    """Seconds that each machine has, one after the other, from when its worker takes jobs on."""
    notices: Iterator[float]
    """Seconds from SIGTERM until SIGKILL."""


def spot(draw: random.Random, *, per_second: float, notice: float) -> Hazard:
    """Machines that go at a constant rate, with a notice of so many seconds or less."""
    return Hazard(
        lifetimes=iter(lambda: draw.expovariate(per_second), None),
        notices=iter(lambda: draw.uniform(0, notice), None),
    )


@dataclass(kw_only=True)
class _Machine:
    child: Child
    lifetime: float
    ready_at: float | None = None
    killed_at: float | None = None
    """When it is over for it, once it was told to end."""


@dataclass(kw_only=True)
class Pool:
    """The machines there are; `look` does what time has brought."""

    start: Callable[[], Child]
    hazard: Hazard
    preempted: list[float] = field(default_factory=list)
    """When each machine was taken away, in Unix time."""
    killed: int = 0
    """How many of those had not ended when their notice was over."""
    seconds: float = 0
    """Machines times the seconds they were there."""

    def __post_init__(self) -> None:
        self._machines: list[_Machine] = []
        self._leaving: list[_Machine] = []
        self._looked = time.monotonic()

    @property
    def ready(self) -> int:
        """Workers that take jobs."""
        return sum(machine.ready_at is not None for machine in self._machines)

    @property
    def size(self) -> int:
        """Machines there are and that are to stay, those included whose worker only starts."""
        return len(self._machines)

    @property
    def empty(self) -> bool:
        """Whether nothing runs any more, and nothing ends."""
        return not self._machines and not self._leaving

    def look(self, *, wanted: int) -> None:
        """Take machines away, replace them, grow or shrink."""
        now = time.monotonic()
        self.seconds += (now - self._looked) * (len(self._machines) + len(self._leaving))
        self._looked = now
        for machine in [*self._machines]:
            if machine.ready_at is None and b" ready." in machine.child.log.read_bytes():
                machine.ready_at = now
            if not machine.child.running:
                raise RuntimeError(f"{machine.child.name} ended by itself: {machine.child.tail()}")
            if machine.ready_at is not None and now > machine.ready_at + machine.lifetime:
                self._end(machine, within=next(self.hazard.notices))
                self.preempted.append(time.time())
        while len(self._machines) > wanted:
            self._end(self._machines[-1], within=_GRACE_SECONDS)
        while len(self._machines) < wanted:
            lifetime = next(self.hazard.lifetimes)
            self._machines.append(_Machine(child=self.start(), lifetime=lifetime))
        for machine in [*self._leaving]:
            self._see_off(machine, now=now)

    def _end(self, machine: _Machine, *, within: float) -> None:
        self._machines.remove(machine)
        self._leaving.append(machine)
        machine.killed_at = time.monotonic() + within
        machine.child.signal(signal.SIGTERM)

    def _see_off(self, machine: _Machine, *, now: float) -> None:
        if machine.killed_at is not None and now > machine.killed_at:
            self.killed += machine.child.running
            machine.child.stop(grace=0)
        if not machine.child.running:
            self._leaving.remove(machine)
