"""How many workers a pool is to have, as KEDA and the horizontal pod autoscaler decide it."""

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple


class Signals(NamedTuple):
    """What a scaler reads of the exporter."""

    waiting: int
    in_flight: int
    backlog_seconds: float
    """What one worker would take for all of it."""
    pending: int
    rate: float
    """Images a second of one worker."""

    @property
    def active(self) -> bool:
        """Whether there is anything to do: what is lost in Redis is pending, and nowhere else."""
        return self.waiting + self.in_flight + self.pending > 0


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is set of a scaler; all in seconds but the last."""

    target: float
    """Of backlog, for each worker."""
    stabilisation: float
    """A pool shrinks to the most that was wanted within this time."""
    cooldown: float
    """With nothing to do until the last worker goes."""
    most: int
    """Workers."""


class Scaler:
    """Remembers what it wanted; the clock is the caller's."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._wanted: deque[tuple[float, int]] = deque()
        self._active_at = -math.inf

    def wanted(self, signals: Signals | None, *, current: int, now: float) -> int:
        """The workers there should be; without signals as many as there are."""
        if signals is None:
            return current
        if signals.active:
            self._active_at = now
        if current == 0:
            # KEDA starts the first; the autoscaler makes more of it.
            return int(signals.active)
        if now - self._active_at >= self._policy.cooldown:
            self._wanted.clear()
            return 0
        need = math.ceil(signals.backlog_seconds / self._policy.target)
        wanted = min(max(need, 1), self._policy.most)
        self._wanted.append((now, wanted))
        while self._wanted[0][0] < now - self._policy.stabilisation:
            self._wanted.popleft()
        return wanted if wanted >= current else min(current, max(n for _, n in self._wanted))
