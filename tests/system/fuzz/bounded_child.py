"""Run a native library on an untrusted input in a forked process with limits."""

import json
import os
import resource
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

_FAULTS: Final = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)


class Ended(NamedTuple):
    """How a process ended: exactly one field is set."""

    result: Any = None
    """What the action returned, as JSON."""
    error: str | None = None
    """The traceback of an exception."""
    signal: str | None = None
    """The name of the signal that ended it: SIGXCPU after too much processor time."""


def run_bounded(action: Callable[[], object], *, seconds: int, added_bytes: int) -> Ended:
    """Call `action` in a forked process; its result must be JSON other than null.

    `seconds` bounds its processor time, `added_bytes` the data that it allocates.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _run_and_exit(action, writer, seconds, added_bytes)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Ended(signal=signal.Signals(os.WTERMSIG(status)).name)
    return Ended(**json.loads(answer))


def _run_and_exit(
    action: Callable[[], object], writer: int, seconds: int, added_bytes: int
) -> None:
    for fault in _FAULTS:
        # The fuzzer's own handlers would write this process's end as a finding.
        signal.signal(fault, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    data_pages = int(Path("/proc/self/statm").read_text().split()[5])
    data = data_pages * resource.getpagesize() + added_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (data, data))
    try:
        answer = {"result": action()}
    except BaseException:  # noqa: BLE001 - the parent process reports it
        answer = {"error": traceback.format_exc()}
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(json.dumps(answer).encode())
    os._exit(0)
