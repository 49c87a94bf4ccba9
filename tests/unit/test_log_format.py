"""A record is bounded, whatever it is about."""

import logging

import pytest

from producer.observability.log_format import LineFormatter

HUGE = 300_000


def formatted(message: str, *args: object, error: BaseException | None = None) -> str:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("test", logging.WARNING, "", 1, message, args, exc_info)
    record.stack_info = None if error is None else "Stack:\n" + "frame\n" * HUGE
    return LineFormatter().format(record)


@pytest.mark.parametrize("huge", ["x" * HUGE, "\n" * HUGE, "\x1b" * HUGE, "\ud800" * HUGE])
def test_a_line_is_bounded_and_says_how_much_it_lost(huge: str) -> None:
    line = formatted("job %s failed: %s; rename it", 1, huge)
    assert len(line.encode()) < 9_000
    assert line.isprintable()
    assert line.startswith("WARNING: job 1 failed: ")
    assert "characters left out) …" in line
    assert line.endswith("; rename it")


@pytest.mark.parametrize("huge", ["x" * HUGE, "\n" * HUGE, "a\n[INFO] forged\n" * HUGE])
def test_a_traceback_is_bounded_and_keeps_its_last_line(huge: str) -> None:
    try:
        raise ValueError(f"{huge}; rename it")
    except ValueError as caught:
        text = formatted("job 3", error=caught)
    assert len(text.encode()) < 400_000
    message, *below = text.splitlines()
    assert message == "WARNING: job 3"
    assert below[0] == "    Traceback (most recent call last):"
    assert text.count("characters left out) …") == 2
    assert "; rename it" in text
    assert all(line.startswith("    ") for line in below)


def test_arguments_that_do_not_fit_the_message_are_bounded_too() -> None:
    assert len(formatted("%d of %d", "x" * HUGE)) < 9_000
