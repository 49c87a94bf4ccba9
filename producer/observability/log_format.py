"""A log in which a line is a line: whatever a stranger's text holds, it forges none and leaks none.

Keys, messages and errors of other systems reach the log as they are; here is the one place where
control characters are written as escapes and credentials are taken out.
"""

import copy
import logging
import os
from typing import Final, Literal

from producer.contract.untrusted_text import escape_unprintable
from producer.observability.log_json import CutworkJsonFormatter
from producer.observability.redact import redact, secrets_of

LogFormat = Literal["text", "json"]
"""What a line is: words for a person, or a JSON object with facts beside the words."""

_INDENT: Final = "    "


class LineFormatter(logging.Formatter):
    """Another formatter's lines, one a record; a traceback follows with every line indented."""

    def __init__(self, inner: logging.Formatter | None = None) -> None:
        """`inner` gives the lines their form; the environment says what is secret."""
        super().__init__()
        self._inner = inner or logging.Formatter("%(levelname)s: %(message)s")
        self._secrets = secrets_of(os.environ)

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, and under it its traceback."""
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
    """Have all handlers of a logger write such lines: in the form they had, or as JSON objects."""
    for handler in logger.handlers:
        if not isinstance(handler.formatter, LineFormatter):
            handler.setFormatter(
                LineFormatter(CutworkJsonFormatter() if form == "json" else handler.formatter)
            )


def format_stderr_warnings() -> None:
    """Have warnings of a process that set up no logging come out so on its standard error.

    Before settings are read, which refuse any other word for the form.
    """
    if logging.lastResort is not None:
        json = os.environ.get("CUTWORK_LOG_FORMAT") == "json"
        logging.lastResort.setFormatter(LineFormatter(CutworkJsonFormatter() if json else None))
