"""Parsing of `--since`: dates, times and ages."""

from datetime import UTC, datetime

import pytest

from producer.sync.plan.since import since_time

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("30min", 0.5),
        ("12h", 12),
        ("7d", 7 * 24),
        ("2 w", 14 * 24),
        ("2026-11-22", 12),
        ("2026-11-22T11:00Z", 1),
        ("2026-11-22 11:00:00", 1),
        ("2026-11-22T13:00+02:00", 1),
    ],
)
def test_dates_times_and_ages_are_parsed(text: str, hours: float) -> None:
    assert since_time(text, now=NOW) == NOW - hours * 3600


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7y", "2026-13-01", "-7d"])
def test_an_invalid_since_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"--since: expected 2026-11-01.*found"):
        since_time(text, now=NOW)
