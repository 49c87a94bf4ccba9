"""The processor time, the peak memory and the log of pieces of work, in a process of their own."""

import gc
import json
import os
import re
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from worker.pipeline.malloc import fix_mmap_threshold, trim_heap

CPU_SECONDS: Final = 60
"""Processor time after which a piece of work is ended, with its process."""
ADDRESS_SPACE: Final = 16 * 2**30
"""Bytes of address space that the process may have in addition to what it starts with."""
_STDERR: Final = 2
_BROKEN: Final = 3
"""The exit code after an error in Python."""


class Measured(NamedTuple):
    """What a piece of work cost."""

    result: Any
    """What the work returned, as JSON has it; None if its process was ended."""
    cpu_seconds: float
    peak_bytes: int
    """The growth of the resident memory at its peak."""
    log_bytes: int
    """What the work wrote to the standard error."""


def measure(
    works: Sequence[Callable[[], object]], *, warm_up: Callable[[], object]
) -> Iterator[Measured]:
    """Run pieces of work one after the other in a child process, after `warm_up`.

    A process that ends early is replaced, and the work that it was at counts as ended. The caller
    must not have started threads that hold locks.
    """
    done = 0
    while done < len(works):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            with os.fdopen(writing, "w") as pipe, tempfile.TemporaryFile() as log:
                _run(works[done:], warm_up, pipe, log)
        os.close(writing)
        with os.fdopen(reading) as lines:
            for line in lines:
                done += 1
                yield Measured(*json.loads(line))
        _, status, usage = os.wait4(child, 0)
        if os.waitstatus_to_exitcode(status) == _BROKEN:
            raise RuntimeError("expected the work to raise no error, found one")
        if status:
            done += 1
            seconds = usage.ru_utime + usage.ru_stime
            yield Measured(None, seconds, usage.ru_maxrss * 1024, 0)


def _run(
    works: Sequence[Callable[[], object]],
    warm_up: Callable[[], object],
    pipe: IO[str],
    log: IO[bytes],
) -> None:
    """Write a line about each piece of work to the pipe, and end the process."""
    code = _BROKEN
    try:
        # As a worker does: otherwise freed blocks stay resident, more of them in a larger process.
        fix_mmap_threshold()
        warm_up()
        os.dup2(log.fileno(), _STDERR)
        limit = memory("VmSize") + ADDRESS_SPACE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for work in works:
            print(json.dumps(_measured(work)), file=pipe, flush=True)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        # Without the exit handlers, which belong to the parent.
        os._exit(code)


def _measured(work: Callable[[], object]) -> Measured:
    # Memory that is free by now and used again would not count.
    gc.collect()
    trim_heap()
    Path("/proc/self/clear_refs").write_text("5")  # Resets the peak.
    sys.stderr.flush()
    logged, before, start = os.fstat(_STDERR).st_size, memory("VmRSS"), _cpu_seconds()
    seconds = int(time.process_time()) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
    result = work()
    took, peak = _cpu_seconds() - start, max(memory("VmHWM") - before, 0)
    sys.stderr.flush()
    return Measured(result, took, peak, os.fstat(_STDERR).st_size - logged)


def _cpu_seconds() -> float:
    """Return the processor time of this process and of those that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def memory(field: str) -> int:
    """Return a field of this process's status in bytes."""
    status = Path("/proc/self/status").read_text()
    match = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"expected {field} in /proc/self/status, found none")
    return int(match[1]) * 1024
