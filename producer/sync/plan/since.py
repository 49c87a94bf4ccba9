"""A moment as people write it: a date, a time, or how long ago."""

import re
from datetime import UTC, datetime
from typing import Final

_AGO: Final = re.compile(r"(\d{1,6})\s*(min|h|d|w)")
_SECONDS: Final = {"min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def since_time(text: str, *, now: float) -> float:
    """Unix time in seconds of `2026-11-01`, `2026-11-01T12:00Z`, `7d`, `12h`, `30min` or `2w`.

    A time without a zone is UTC, as S3's are. `ValueError` for anything else.
    """
    if ago := _AGO.fullmatch(text.strip()):
        return now - int(ago[1]) * _SECONDS[ago[2]]
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(
            f"--since: expected 2026-11-01, 2026-11-01T12:00Z, 7d, 12h or 30min, found {text!r}"
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
