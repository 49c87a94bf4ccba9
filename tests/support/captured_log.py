"""A log whose lines a test reads, in an environment with secrets."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import pytest

from producer.observability.log_format import LineFormatter

SECRET: Final = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
"""The value of AWS_SECRET_ACCESS_KEY while the log is captured."""


class CapturedLog(NamedTuple):
    """A logger, and the text that its handler wrote."""

    logger: logging.Logger
    text: io.StringIO


@contextmanager
def captured_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[CapturedLog]:
    """Format the lines of the root logger as the commands do, and keep them."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("CUTWORK_BROKER_URL", "redis://:p%40ss%2Fw0rd%3Aof%3Fours@broker/0")
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(LineFormatter(logging.Formatter("[%(levelname)s] %(message)s")))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield CapturedLog(logging.getLogger("test"), text)
    finally:
        root.removeHandler(handler)
