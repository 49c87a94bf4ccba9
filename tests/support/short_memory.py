"""Run a function in a process with limited memory."""

import multiprocessing
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 2**20


def leave(room: int) -> None:
    """Limit this process to `room` bytes more than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, whose memory it may limit; return its result."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)
