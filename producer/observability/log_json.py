"""Log lines as JSON objects, for whoever collects them."""

import logging
import os
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from producer.observability.log_context import current_log_context
from producer.observability.redact import redact, secrets_of


class CutworkJsonFormatter(JsonFormatter):
    """One object a record: time, level, logger and message, and what its `extra` holds.

    Before these come the facts of the job its thread is at. No string holds a credential.
    """

    def __init__(self) -> None:
        """The environment says what is secret."""
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
            # With `data` Celery repeats the whole message.
            reserved_attrs=[*RESERVED_ATTRS, "data"],
        )
        self._secrets = secrets_of(os.environ)

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """The facts first: what a record says of itself counts."""
        log_data.update(current_log_context())
        super().add_fields(log_data, record, message_dict)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Take the credentials out; JSON itself writes control characters as escapes."""
        return {
            name: redact(value, secrets=self._secrets) if isinstance(value, str) else value
            for name, value in log_data.items()
        }
