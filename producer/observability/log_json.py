"""Log lines as JSON objects, for log collectors."""

import logging
import os
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from producer.observability.log_context import current_log_context
from producer.observability.redact import redact, secrets_of


class CutworkJsonFormatter(JsonFormatter):
    """Formats a record as one object: time, level, logger, message, and the fields of `extra`.

    The fields of the log context come first. Credentials are removed from all strings.
    """

    def __init__(self) -> None:
        """Read the secrets to hide from the environment."""
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
            # In `data` Celery repeats the whole message.
            reserved_attrs=[*RESERVED_ATTRS, "data"],
        )
        self._secrets = secrets_of(os.environ)

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Add the log context first, so that the record's own fields take precedence."""
        log_data.update(current_log_context())
        super().add_fields(log_data, record, message_dict)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Remove credentials; JSON itself escapes control characters."""
        return {
            name: redact(value, secrets=self._secrets) if isinstance(value, str) else value
            for name, value in log_data.items()
        }
