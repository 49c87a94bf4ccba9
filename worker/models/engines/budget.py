"""How much memory loaded models may fill."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from worker.models.engines import gpu

_CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")
"""The container's limit, a number or `max`; psutil only knows the machine's memory."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of the model cache."""

    memory: int
    """Bytes of weights in main memory."""
    gpu_memory: int
    """Bytes of weights in GPU memory."""
    gpu_idle: float
    """Seconds that an idle model stays on a GPU."""

    @classmethod
    def of(cls, *, memory: int, gpu_memory: int, gpu_idle: float) -> "Budget":
        """Return a budget; 0 bytes stand for half of what the machine, or its first GPU, has."""
        return cls(
            memory=memory or machine_memory() // 2,
            gpu_memory=gpu_memory or gpu.driver().memory // 2,
            gpu_idle=gpu_idle,
        )


def machine_memory() -> int:
    """Return the bytes of main memory that this process may use at most."""
    total: int = psutil.virtual_memory().total
    try:
        return min(total, int(_CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):
        return total
