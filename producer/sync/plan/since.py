"""The value of --since: a date, a time, or an age."""

import re
from datetime import UTC, datetime
from typing import Final

_AGE: Final = re.compile(r"(\d{1,6})\s*(min|h|d|w)")
_SECONDS: Final = {"min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def since_time(text: str, *, now: float) -> float:
    """Parse `2026-11-01`, `2026-11-01T12:00Z`, `7d`, `12h`, `30min` or `2w` to Unix seconds.

    A time without a zone is UTC, like S3's times. Raises `ValueError` for any other text.
    """
    if age := _AGE.fullmatch(text.strip()):
        return now - int(age[1]) * _SECONDS[age[2]]
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(
            f"--since: expected 2026-11-01, 2026-11-01T12:00Z, 7d, 12h or 30min, found {text!r}"
        ) from error
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
