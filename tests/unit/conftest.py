"""Unit tests neither connect to a server nor start a process: one that tries fails."""

import sys
import threading
from collections.abc import Iterator, Set
from typing import Final

import pytest

_FORBIDDEN: Final = frozenset(
    {"socket.connect", "subprocess.Popen", "os.fork", "os.posix_spawn", "os.system"}
)
_CONNECT_OR_START: Final = (
    "a unit test used {event}: expected neither a connection nor a process; move the test to "
    "tests/integration"
)


class _Guard:
    """Refuses forbidden events in the test's threads, not in those that ran before it."""

    def __init__(self) -> None:
        self.earlier_threads: Set[threading.Thread] | None = None
        """None outside a unit test."""
        self.violations: list[str] = []

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in _FORBIDDEN or self.earlier_threads is None:
            return
        thread = threading.current_thread()
        if thread is threading.main_thread() or thread not in self.earlier_threads:
            text = _CONNECT_OR_START.format(event=f"{event}{arguments!r:.200}")
            self.violations.append(text)
            raise RuntimeError(text)


_guard: Final = _Guard()
sys.addaudithook(_guard)  # A hook cannot be removed; between unit tests this one does nothing.


@pytest.fixture(autouse=True)
def _no_server_and_no_process() -> Iterator[None]:
    _guard.earlier_threads = frozenset(threading.enumerate())
    yield
    _guard.earlier_threads = None
    violations, _guard.violations = _guard.violations, []
    # The code under test may have caught the error.
    assert not violations, violations[0]
