"""Child processes that never outlive their parent, however the parent ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.guard import guard
from worker.models.process_end import die_with_parent


class ChildFailed(RuntimeError):
    """A child process ended early or was not ready in time; the text has the end of its log."""


class Child:
    """A child in its own session: Ctrl-C reaches only the parent, which stops children in order."""

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
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )
        if sys.platform != "linux":
            guard().add(self.pid)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Wait until `ready` is true; raise `ChildFailed` if the child ends or time is over."""
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
        """Wait for the end and return the exit status, or raise `subprocess.TimeoutExpired`."""
        return self._process.wait(timeout)

    def stop(self, *, grace: float) -> None:
        """Send SIGTERM, and after `grace` seconds kill the child with its own children."""
        if self.running and grace > 0:
            self._process.terminate()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        # The whole process group, so that no grandchild survives.
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if sys.platform != "linux":
            guard().remove(self.pid)
        self._process.wait()

    def tail(self, characters: int = 2000) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-characters:]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer Ctrl-C until the end of the block.

    Python raises `KeyboardInterrupt` at any point: inside the hooks of a fork it would be lost, and
    between the start of a process and its registration the process would never be stopped.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handlers = {
        number: signal.signal(number, lambda signum, _: received.append(signum))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])
