"""Log lines that untrusted text can neither forge nor use to leak credentials.

Keys, messages and errors of other systems are logged as they are; this is the one place where
control characters are escaped, credentials removed, and long texts cut.
"""

import copy
import json
import logging
import os
from typing import Any, Final, Literal

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from producer.contract.untrusted_text import escape_unprintable
from producer.observability.log_context import current_log_context
from producer.observability.redact import redact_line, secrets_of

LogFormat = Literal["text", "json"]
"""The format of a log line: text for people, or a JSON object with fields."""

_INDENT: Final = "    "
_MESSAGE_BYTES: Final = 8 * 1024
_FIELD_BYTES: Final = 2 * 1024
_TRACEBACK_BYTES: Final = 32 * 1024
_BYTES_BY_FIELD: Final = {
    "message": _MESSAGE_BYTES,
    "exc_info": _TRACEBACK_BYTES,
    "stack_info": _TRACEBACK_BYTES,
}
"""The bounds of a JSON record; of all other fields `_FIELD_BYTES`."""


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
        """Remove credentials and cut long fields; JSON itself escapes control characters."""
        return {name: self._bounded(name, value) for name, value in log_data.items()}

    def _bounded(self, name: str, value: Any) -> Any:
        limit = _BYTES_BY_FIELD.get(name, _FIELD_BYTES)
        if not isinstance(value, str):
            text = json.dumps(value, default=str)
            if len(text) <= limit:
                return value
            value = text
        return redact_line(value, limit, secrets=self._secrets, escape=_escape_surrogates)


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
        clean.msg, clean.args = redact_line(message, _MESSAGE_BYTES, secrets=self._secrets), ()
        if record.exc_info:
            clean.exc_text = self._block(self._inner.formatException(record.exc_info))
        if record.stack_info:
            clean.stack_info = self._block(record.stack_info)
        return self._inner.format(clean)

    def _block(self, text: str) -> str:
        text = redact_line(text, _TRACEBACK_BYTES, secrets=self._secrets, escape=_escape_lines)
        return "\n".join(_INDENT + line for line in text.split("\n"))


def _escape_lines(text: str) -> str:
    return "\n".join(map(escape_unprintable, text.split("\n")))


def _escape_surrogates(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


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
        is_json = os.environ.get("CUTWORK_LOG_FORMAT") == "json"
        logging.lastResort.setFormatter(LineFormatter(CutworkJsonFormatter() if is_json else None))
