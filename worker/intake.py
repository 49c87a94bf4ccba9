"""What reaches the task. Celery alone is ended by a message that is none, and again by its return.

Anything that can write to the broker can put bytes into a queue that no producer would send. Celery
refuses some of them, is ended by others, and loses a thread to each of the rest; all of those are
refused here: logged and dropped.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.exceptions import InvalidTaskError
from celery.worker.strategy import default
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.transport import redis, virtual

from worker.envelope import check

log = logging.getLogger(__name__)

Handler = Callable[..., Any]

UNREADABLE = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What kombu raises for an entry of the queue that is no message."""


def refuse_malformed(task: Task[Any, Any], app: Celery, consumer: Any, **options: Any) -> Handler:
    """Celery's strategy for taking a message, for well-formed ones only."""
    take: Handler = default(task, app, consumer, **options)

    def take_or_refuse(message: Any, *arguments: Any) -> Any:
        try:
            payload = message.payload
        except (ContentDisallowed, DecodeError):
            raise
        except Exception as error:  # codecs and decompressors raise whatever they raise
            raise InvalidTaskError(f"the body cannot be decoded: {error}") from error
        try:
            check(headers=message.headers, properties=message.properties, body=payload)
        except ValueError as error:
            raise InvalidTaskError(str(error)) from error
        return take(message, *arguments)

    return take_or_refuse


class Message(virtual.Message):
    """kombu's message; from a queue, one without a task's name and id is refused.

    Later would be too late: it would be held as unacknowledged, and come back.
    """

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        super().__init__(payload, channel=channel, **options)
        # Control messages are broadcast, not queued, and name no task.
        if getattr(channel, "reading_queue", False):
            for name in ("task", "id"):
                if not isinstance(value := self.headers.get(name), str) or not value:
                    raise TypeError(f"headers.{name}: expected a name, found {value!r:.100}")


class Channel(redis.Channel):
    """kombu's channel, which goes on after an entry of the queue that is no message.

    kombu offers no public place between reading an entry and decoding it; the tests push such
    entries into a real queue, and so notice when a newer kombu moves this one.
    """

    Message = Message
    reading_queue = False

    def _brpop_read(self, **options: Any) -> Any:
        self.reading_queue = True
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # not in the stubs
        except UNREADABLE as error:
            # A traceback through kombu would say nothing more of a stranger's bytes.
            log.error("refused an entry of the queue that is no message: %r", error)  # noqa: TRY400
            return True
        finally:
            self.reading_queue = False


class Transport(redis.Transport):
    """Redis with that channel."""

    Channel = Channel
