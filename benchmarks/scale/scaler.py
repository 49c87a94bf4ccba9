"""The number of workers of a pool, decided as by KEDA and the horizontal pod autoscaler."""

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple


class Signals(NamedTuple):
    """The values that a scaler reads from the exporter."""

    waiting: int
    in_flight: int
    backlog_seconds: float
    """The seconds that one worker would need for the whole backlog."""
    pending: int
    rate: float
    """Images per second of one worker."""

    @property
    def active(self) -> bool:
        """Whether there is work; a lost job appears only as pending."""
        return self.waiting + self.in_flight + self.pending > 0


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The settings of a scaler; all in seconds but the last."""

    target: float
    """The target backlog per worker."""
    stabilisation: float
    """A pool shrinks to the largest number wanted within this time."""
    cooldown: float
    """The idle time after which the last worker is removed."""
    max_workers: int
    """The largest number of workers."""


class Scaler:
    """Remembers the wanted numbers; the caller passes the time."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._wanted: deque[tuple[float, int]] = deque()
        self._active_at = -math.inf

    def wanted(self, signals: Signals | None, *, current: int, now: float) -> int:
        """Return the wanted number of workers; without signals the present one."""
        if signals is None:
            return current
        if signals.active:
            self._active_at = now
        if current == 0:
            # KEDA starts the first worker, the autoscaler adds the others.
            return int(signals.active)
        if now - self._active_at >= self._policy.cooldown:
            self._wanted.clear()
            return 0
        need = math.ceil(signals.backlog_seconds / self._policy.target)
        wanted = min(max(need, 1), self._policy.max_workers)
        self._wanted.append((now, wanted))
        while self._wanted[0][0] < now - self._policy.stabilisation:
            self._wanted.popleft()
        return wanted if wanted >= current else min(current, max(n for _, n in self._wanted))
