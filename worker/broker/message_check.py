"""What reaches the task. Celery alone is ended by a message that is none, and again by its return.

Anything that can write to the broker can put bytes into a queue that no producer would send. Celery
refuses some of them, is ended by others, and loses a thread to each of the rest; all of those are
refused here: logged and dropped.
"""

from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.exceptions import InvalidTaskError
from celery.worker.strategy import default
from kombu.exceptions import ContentDisallowed, DecodeError

from worker.broker.message_schema import check, check_id

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
