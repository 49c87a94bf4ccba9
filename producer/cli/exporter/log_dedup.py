"""A log that says each thing once: an exporter meets the same stranger at every scrape."""

import logging
from typing import Final

_MOST: Final = 1000
"""Sentences remembered."""


class RepeatFilter(logging.Filter):
    """Lets a record pass if its sentence has not been said before."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, None] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is new."""
        sentence = record.getMessage()
        if sentence in self._said:
            return False
        if len(self._said) >= _MOST:
            self._said.pop(next(iter(self._said)))
        self._said[sentence] = None
        return True
