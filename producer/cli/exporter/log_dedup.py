"""Log each message once: the exporter meets the same unreadable entries at every scrape."""

import logging
from typing import Final

_REMEMBERED: Final = 1000
"""Number of messages remembered."""


class RepeatFilter(logging.Filter):
    """Drops records whose message was logged before."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[str, None] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is new."""
        message = record.getMessage()
        if message in self._logged:
            return False
        if len(self._logged) >= _REMEMBERED:
            self._logged.pop(next(iter(self._logged)))
        self._logged[message] = None
        return True
