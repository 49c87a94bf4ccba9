"""Fields of all log lines that a thread writes while it works on a job."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_facts: Final[ContextVar[dict[str, str] | None]] = ContextVar("cutwork_log_facts", default=None)


@contextmanager
def log_context(facts: Mapping[str, str | None]) -> Iterator[None]:
    """Add fields, except those that are None, to all log lines of this thread in the block."""
    token = _facts.set({name: value for name, value in facts.items() if value is not None})
    try:
        yield
    finally:
        _facts.reset(token)


def add_to_log_context(name: str, value: str) -> None:
    """Add a field to the current block of this thread; do nothing outside of a block."""
    if (facts := _facts.get()) is not None:
        facts[name] = value


def current_log_context() -> Mapping[str, str]:
    """Return the fields of the current block of this thread."""
    return _facts.get() or {}
