"""A process that kills children when their parent has ended, where the kernel does not do that."""

import subprocess
import sys
from functools import cache
from typing import Final

_PROGRAM: Final = """
import os, signal, sys
children = set()
for line in sys.stdin:  # until the parent has ended, which closes the pipe
    children ^= {int(line)}  # the first line of a child adds it, the second removes it
for child in children:
    try:
        os.killpg(child, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # macOS refuses to signal a group of which only a zombie is left
"""


class Guard:
    """The process; it ends with its parent."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def add(self, child: int) -> None:
        """Kill the process group of this child if the parent ends."""
        self._write(child)

    def remove(self, child: int) -> None:
        """Forget a child that has ended: its number may stand for another process later."""
        self._write(child)

    def _write(self, child: int) -> None:
        if self._process.stdin is None:
            raise RuntimeError("the guard has no pipe")
        self._process.stdin.write(f"{child}\n".encode())
        self._process.stdin.flush()


@cache
def guard() -> Guard:
    """Return the guard of this process."""
    return Guard()
