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

from producer.job import TASK_NAME
from worker.envelope import check, check_id

log = logging.getLogger(__name__)

Handler = Callable[..., Any]


def refuse_malformed(task: Task[Any, Any], app: Celery, consumer: Any, **options: Any) -> Handler:
    """Celery's strategy for taking a message, for well-formed ones only."""
    take: Handler = default(task, app, consumer, **options)
    signed = app.conf.task_serializer == "auth"

    def take_or_refuse(message: Any, *arguments: Any) -> Any:
        name = f"message {message.headers.get('id')!r:.130}"
        try:
            payload = message.payload
        except (ContentDisallowed, DecodeError):
            raise
        except Exception as error:  # codecs and decompressors raise whatever they raise
            raise InvalidTaskError(f"{name}: the body cannot be decoded: {error}") from error
        try:
            check(headers=message.headers, properties=message.properties, body=payload)
            if signed:
                check_id(headers=message.headers, body=payload)
        except ValueError as error:
            raise InvalidTaskError(f"{name}: {error}") from error
        return take(message, *arguments)

    return take_or_refuse


class Message(virtual.Message):
    """kombu's message; from a queue, one without our task's name and an id is refused.

    Later would be too late: it would be held as unacknowledged, and come back; and of an unknown
    task Celery stores a failure under whatever id the message names.
    """

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        headers = payload.get("headers")
        if isinstance(headers, dict) and headers.get("compression"):
            # kombu would unpack it here, to any size, before it is known who sent it.
            raise TypeError("headers.compression: expected none, a message is small")
        super().__init__(payload, channel=channel, **options)
        # Control messages are broadcast, not queued, and name no task.
        if getattr(channel, "reading_queue", False):
            if (task := self.headers.get("task")) != TASK_NAME:
                raise TypeError(f"headers.task: expected {TASK_NAME}, found {task!r:.100}")
            if not isinstance(name := self.headers.get("id"), str) or not name:
                raise TypeError(f"headers.id: expected a name, found {name!r:.100}")


class Channel(redis.Channel):
    """kombu's channel, which goes on after an entry of the queue that is no message.

    kombu offers no public place between reading an entry and decoding it; the tests push such
    entries into a real queue, and so notice when a newer kombu moves this one.
    """

    Message = Message
    reading_queue = False

    def _deliver_fanout_message(self, message: Any, exchange: str) -> Any:
        # A broadcast that is no control message would end the worker.
        try:
            return super()._deliver_fanout_message(message, exchange)  # type: ignore[misc]
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            log.error("refused a broadcast that is no message: %r", error)  # noqa: TRY400
            return True

    def _brpop_read(self, **options: Any) -> Any:
        self.reading_queue = True
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # not in the stubs
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            # A traceback through kombu would say nothing more of a stranger's bytes.
            log.error("refused an entry of the queue that is no message: %r", error)  # noqa: TRY400
            return True
        finally:
            self.reading_queue = False


class Transport(redis.Transport):
    """Redis with that channel."""

    Channel = Channel
