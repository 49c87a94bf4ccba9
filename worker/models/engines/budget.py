"""How much memory loaded models may fill."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from worker.models.engines import gpu

_CGROUP: Final = Path("/sys/fs/cgroup/memory.max")
"""What a container may use, a number or `max`; psutil sees only the machine's."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Bytes of weights that idle models may fill, and seconds an idle one stays on a GPU."""

    memory: int
    gpu_memory: int
    gpu_idle: float

    @classmethod
    def of(cls, *, memory: int, gpu_memory: int, gpu_idle: float) -> "Budget":
        """The budget of a deployment; 0 is half of what the machine, or its first GPU, has."""
        return cls(
            memory=memory or machine_memory() // 2,
            gpu_memory=gpu_memory or gpu.driver().memory // 2,
            gpu_idle=gpu_idle,
        )


def machine_memory() -> int:
    """Bytes of memory this process may use at most."""
    total: int = psutil.virtual_memory().total
    try:
        return min(total, int(_CGROUP.read_text()))
    except (OSError, ValueError):
        return total
