"""Memory that is short for real, in a process of its own."""

import multiprocessing
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 2**20


def leave(room: int) -> None:
    """Let this process take `room` bytes more, and no others ever."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a test module gives in a process that it may squeeze."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)
