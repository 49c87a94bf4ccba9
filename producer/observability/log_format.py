"""Log lines that untrusted text can neither forge nor use to leak credentials.

Keys, messages and errors of other systems are logged as they are; this is the one place where
control characters are escaped and credentials removed.
"""

import copy
import logging
import os
from typing import Any, Final, Literal

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from producer.contract.untrusted_text import escape_unprintable
from producer.observability.log_context import current_log_context
from producer.observability.redact import redact, secrets_of

LogFormat = Literal["text", "json"]
"""The format of a log line: text for people, or a JSON object with fields."""

_INDENT: Final = "    "


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


class LineFormatter(logging.Formatter):
    """Formats each record as one line with another formatter, and indents tracebacks below it."""

    def __init__(self, inner: logging.Formatter | None = None) -> None:
        """Wrap `inner`; the secrets to hide are read from the environment."""
        super().__init__()
        self._inner = inner or logging.Formatter("%(levelname)s: %(message)s")
        self._secrets = secrets_of(os.environ)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, and its traceback below."""
        clean = copy.copy(record)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = f"{record.msg!r} {record.args!r}"
        clean.msg, clean.args = escape_unprintable(redact(message, secrets=self._secrets)), ()
        if record.exc_info:
            clean.exc_text = self._block(self._inner.formatException(record.exc_info))
        if record.stack_info:
            clean.stack_info = self._block(record.stack_info)
        return self._inner.format(clean)

    def _block(self, text: str) -> str:
        lines = redact(text, secrets=self._secrets).split("\n")
        return "\n".join(_INDENT + escape_unprintable(line) for line in lines)


def install_line_formatter(logger: logging.Logger, *, form: LogFormat) -> None:
    """Make all handlers of a logger write such lines, in their present format or as JSON."""
    for handler in logger.handlers:
        if not isinstance(handler.formatter, LineFormatter):
            handler.setFormatter(
                LineFormatter(CutworkJsonFormatter() if form == "json" else handler.formatter)
            )


def format_stderr_warnings() -> None:
    """Format warnings on standard error like this in a process that has not set up logging.

    Called before the settings are read, which refuse other values of CUTWORK_LOG_FORMAT.
    """
    if logging.lastResort is not None:
        json = os.environ.get("CUTWORK_LOG_FORMAT") == "json"
        logging.lastResort.setFormatter(LineFormatter(CutworkJsonFormatter() if json else None))
