"""What reaches the task. Celery alone is ended by a message that is none, and again by its return.

Anything that can write to the broker can put bytes into a queue that no producer would send. Celery
refuses most of them; those that it trips over are refused here the same way: logged and dropped.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.exceptions import InvalidTaskError
from celery.worker.strategy import default
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.transport import redis

log = logging.getLogger(__name__)

Handler = Callable[..., Any]


def refuse_malformed(task: Task[Any, Any], app: Celery, consumer: Any, **options: Any) -> Handler:
    """Celery's strategy for taking a message, which also refuses bodies of any other shape."""
    take: Handler = default(task, app, consumer, **options)

    def take_or_refuse(message: Any, *arguments: Any) -> Any:
        try:
            return take(message, *arguments)
        except (InvalidTaskError, ContentDisallowed, DecodeError):
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InvalidTaskError(f"expected [args, kwargs, embed]: {error}") from error

    return take_or_refuse


class Channel(redis.Channel):
    """kombu's channel, which goes on after an entry of the queue that is no message.

    kombu offers no public place between reading an entry and decoding it; the tests push such
    entries into a real queue, and so notice when a newer kombu moves this one.
    """

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # not in the stubs
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            log.error("refused an entry of the queue that is no message: %r", error)  # noqa: TRY400
            return True


class Transport(redis.Transport):
    """Redis with that channel."""

    Channel = Channel
