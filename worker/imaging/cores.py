"""The processor cores that this process may use."""

import os


def usable_cores() -> int:
    """Return the number of cores that this process may run on; on macOS those of the machine."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity.
        return os.cpu_count() or 1
