"""kombu's messages: only bounded, uncompressed messages for Cutwork's task are read from a queue.

A patch without a link has no known upstream report.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from kombu.transport import virtual
from kombu.utils import json

from producer.contract.job import TASK_NAME

UNREADABLE: Final = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The errors that kombu raises for a queue entry that is not a message."""
MAX_ENTRY_BYTES: Final = 2**19
"""The longest queue entry that is parsed: a job's has some three thousand bytes."""
_MAX_BODY_CHARACTERS: Final = 2**18
"""A job has some two thousand characters, a canvas of many tasks more."""
_MAX_NAME_CHARACTERS: Final = 256


class _TypedValues(dict[str, Callable[[Any], Any]]):
    """Leave `{"__type__": …, "__value__": …}` as it is in JSON that kombu reads.

    Upstream: kombu turns such objects into decimals, dates, UUIDs and bytes, at any depth. Problem:
    a message of a hundred bytes can name a decimal of a billion digits, which would hold the
    interpreter for hours, and a type that a service has registered is unknown here. Patch: no type
    is decoded. The arguments of a canvas's later tasks are sent on unchanged, so that the worker
    they are for decodes them.
    """

    def get(self, name: Any, _default: Any = None) -> Callable[[Any], Any]:
        return partial(_keep, name)


def _keep(name: object, value: object) -> dict[str, object]:
    return {"__type__": name, "__value__": value}


def keep_typed_values() -> None:
    """Make kombu's JSON leave typed values as they are, in this process."""
    json._decoders = _TypedValues()  # type: ignore[attr-defined]


def check_length(entry: bytes | str) -> None:
    """Raise `ValueError` if a queue entry is too long to be parsed."""
    if len(entry) > MAX_ENTRY_BYTES:
        raise ValueError(f"expected at most {MAX_ENTRY_BYTES:,} bytes, found {len(entry):,}")


class Message(virtual.Message):
    """A kombu message that is refused if it is oversized, compressed or not for Cutwork's task.

    Upstream: kombu accepts and decompresses any message. Problem: checked later, a bad message
    would already count as unacknowledged and be redelivered, and Celery would store a failure of an
    unknown task under whatever id the message names. Patch: the constructor raises `ValueError` or
    `TypeError`; messages from a queue of jobs must name Cutwork's task and an id.
    """

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        if len(payload.get("body") or "") > _MAX_BODY_CHARACTERS:
            raise ValueError(f"body: expected at most {_MAX_BODY_CHARACTERS:,} characters")
        headers = payload.get("headers")
        if isinstance(headers, dict) and headers.get("compression"):
            # kombu would decompress the body here, to any size, before its sender is verified.
            raise TypeError("headers.compression: expected none, because messages are small")
        super().__init__(payload, channel=channel, **options)
        # Control messages and their replies name no task.
        if getattr(channel, "reading_jobs", False):
            self._check_job()

    def _check_job(self) -> None:
        if (task := self.headers.get("task")) != TASK_NAME:
            raise TypeError(f"headers.task: expected {TASK_NAME}, found {task!r:.100}")
        for field, name in (
            ("headers.id", self.headers.get("id")),
            ("properties.delivery_tag", self.delivery_tag),
        ):
            if not isinstance(name, str) or not 0 < len(name) < _MAX_NAME_CHARACTERS:
                raise TypeError(f"{field}: expected a name, found {name!r:.100}")
        for field in ("exchange", "routing_key"):
            name = self.delivery_info[field]
            if not isinstance(name, str) or len(name) >= _MAX_NAME_CHARACTERS:
                raise TypeError(f"delivery_info.{field}: expected a name, found {name!r:.100}")
        # kombu would look it up among its consumers instead of acknowledging the message.
        self.delivery_info.pop("consumer_tag", None)
