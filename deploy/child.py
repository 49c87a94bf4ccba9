"""A child process that does not outlive its parent, whatever ends the parent."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


class ChildFailed(RuntimeError):
    """A child process ended, or did not become ready; the text has the end of its log."""


class Child:
    """One child, in a session of its own: Ctrl-C reaches the parent, which stops it in order."""

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Ask `ready` until it says yes; `ChildFailed` when the child ends or time does."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                raise ChildFailed(
                    f"{self.name} ended with {self._process.returncode}: {self.tail()}"
                )
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self.name} was not ready after {timeout:g} s: {self.tail()}")
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send the child a signal."""
        self._process.send_signal(number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; returns the exit status, or raises `subprocess.TimeoutExpired`."""
        return self._process.wait(timeout)

    def stop(self, *, grace: float) -> None:
        """Ask it to end, and after `grace` seconds end it with all it started."""
        if self.running and grace > 0:
            self._process.terminate()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        # The whole group: what the child itself started must not stay either.
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()

    def tail(self, characters: int = 2000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-characters:]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off until the end of the block.

    Python raises `KeyboardInterrupt` wherever it is: inside a fork's hooks it would be lost, and
    between a start and its bookkeeping it would leave a process nobody stops.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    handlers = {
        number: signal.signal(number, lambda found, _: caught.append(found))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])


def _die_with_parent() -> None:
    """Let the kernel end the child when the parent is killed and cannot do it itself."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
