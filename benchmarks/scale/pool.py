"""Worker processes on simulated machines that can be pre-empted."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from deploy.child import Child

_GRACE_SECONDS: Final = 10.0
"""Seconds for a removed worker to end, more than its grace period."""


@dataclass(frozen=True, kw_only=True)
class Hazard:
    """The pre-emption of machines."""

    lifetimes: Iterator[float]
    """Lifetimes of the machines in order, in seconds from when the worker takes jobs."""
    notices: Iterator[float]
    """The notice: seconds from SIGTERM to SIGKILL."""


def spot(draw: random.Random, *, per_second: float, notice: float) -> Hazard:
    """Return random lifetimes at a constant rate, with this notice in seconds."""
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
    """The time of its SIGKILL once it has been asked to end."""


@dataclass(kw_only=True)
class Pool:
    """All machines; `update` applies what is due."""

    start: Callable[[], Child]
    hazard: Hazard
    preempted: list[float] = field(default_factory=list)
    """The times of the pre-emptions, in Unix time."""
    killed: int = 0
    """The number of pre-empted workers that had not ended within their notice."""
    seconds: float = 0
    """Machine seconds used."""

    def __post_init__(self) -> None:
        self._machines: list[_Machine] = []
        self._leaving: list[_Machine] = []
        self._updated_at = time.monotonic()

    @property
    def ready(self) -> int:
        """The number of workers that take jobs."""
        return sum(machine.ready_at is not None for machine in self._machines)

    @property
    def size(self) -> int:
        """The number of machines that are to stay, starting ones included."""
        return len(self._machines)

    @property
    def empty(self) -> bool:
        """Whether no worker runs or is ending."""
        return not self._machines and not self._leaving

    def update(self, *, wanted: int) -> None:
        """Pre-empt and replace machines, and scale to the wanted number."""
        now = time.monotonic()
        self.seconds += (now - self._updated_at) * (len(self._machines) + len(self._leaving))
        self._updated_at = now
        for machine in [*self._machines]:
            if machine.ready_at is None and b" ready." in machine.child.log.read_bytes():
                machine.ready_at = now
            if not machine.child.running:
                raise RuntimeError(f"{machine.child.name} has ended: {machine.child.tail()}")
            if machine.ready_at is not None and now > machine.ready_at + machine.lifetime:
                self._end(machine, within=next(self.hazard.notices))
                self.preempted.append(time.time())
        while len(self._machines) > wanted:
            self._end(self._machines[-1], within=_GRACE_SECONDS)
        while len(self._machines) < wanted:
            lifetime = next(self.hazard.lifetimes)
            self._machines.append(_Machine(child=self.start(), lifetime=lifetime))
        for machine in [*self._leaving]:
            self._remove_ended(machine, now=now)

    def _end(self, machine: _Machine, *, within: float) -> None:
        self._machines.remove(machine)
        self._leaving.append(machine)
        machine.killed_at = time.monotonic() + within
        machine.child.signal(signal.SIGTERM)

    def _remove_ended(self, machine: _Machine, *, now: float) -> None:
        if machine.killed_at is not None and now > machine.killed_at:
            self.killed += machine.child.running
            machine.child.stop(grace=0)
        if not machine.child.running:
            self._leaving.remove(machine)
