"""What the log is to say of the job a thread is at, beside each line's own words."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_facts: Final[ContextVar[dict[str, str] | None]] = ContextVar("cutwork_log_facts", default=None)


@contextmanager
def log_context(facts: Mapping[str, str | None]) -> Iterator[None]:
    """Inside the block every line of this thread has these facts, but for those that are None."""
    token = _facts.set({name: value for name, value in facts.items() if value is not None})
    try:
        yield
    finally:
        _facts.reset(token)


def add_to_log_context(name: str, value: str) -> None:
    """Add a fact to the block this thread is in; outside of any nothing happens."""
    if (facts := _facts.get()) is not None:
        facts[name] = value


def current_log_context() -> Mapping[str, str]:
    """The facts of the block this thread is in."""
    return _facts.get() or {}
