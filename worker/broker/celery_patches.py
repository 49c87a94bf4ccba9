"""Every patch of Celery, and every use of a part of it that its documentation does not promise.

`pyproject.toml` allows only the minor version that the tests ran with, and
`tests/unit/test_patched_places.py` fails when one of these places has moved. A patch without a link
has no known upstream report.
"""

import signal
from collections.abc import Callable, Iterable
from typing import Any

from celery import Celery, Task, concurrency
from celery.exceptions import InvalidTaskError
from celery.worker import state
from celery.worker.strategy import default

from worker.broker import celery_request, control_commands, threads
from worker.broker.early_outcomes import early_outcomes
from worker.broker.kombu_qos import QoS
from worker.broker.message_schema import check, check_id, normalize


def install(app: Celery) -> None:
    """Make every task of the app, Celery's own included, use `checked_strategy`."""
    app.Task.Strategy = f"{__name__}:checked_strategy"
    app.Task.Request = f"{celery_request.__name__}:Request"
    pools: dict[str, str] = concurrency.ALIASES  # type: ignore[attr-defined]
    pools["threads"] = f"{threads.__name__}:ThreadPool"
    control_commands.install()


def checked_strategy(task: Task[Any, Any], app: Celery, consumer: Any, **options: Any) -> Any:
    """Return Celery's handler for messages of a task, restricted to well-formed messages.

    Upstream: Celery relies on the shape of a message without checking it. Problem: anything that
    can write to the broker can enqueue bytes that end the worker, again at each redelivery, or end
    one of its threads: https://github.com/celery/celery/issues/4308. Patch: such messages raise
    `InvalidTaskError`, which Celery logs before it drops the message, and their job fails.
    """
    handle = default(task, app, consumer, **options)
    signed = app.conf.task_serializer == "auth"

    def refuse(message: Any, payload: object, reason: str) -> InvalidTaskError:
        early_outcomes.refuse_message(message.headers, payload, reason)
        return InvalidTaskError(f"message {message.headers.get('id')!r:.130}: {reason}")

    def check_and_handle(message: Any, *arguments: Any) -> Any:
        try:
            payload = message.payload
        except Exception as error:  # codecs and decompressors raise errors of any class
            raise refuse(message, None, f"the body cannot be decoded: {error}") from error
        try:
            check(headers=message.headers, properties=message.properties, body=payload)
            if signed:
                check_id(headers=message.headers, body=payload)
            normalize(message.headers)
        except (ValueError, RecursionError) as error:
            raise refuse(message, payload, str(error)) from error
        return handle(message, *arguments)

    return check_and_handle


def request_stop(*, status: int) -> None:
    """Make Celery's main loop stop consuming and end with an exit status.

    Upstream: only Celery's own signal handlers do this. Patch: set the variable that they set.
    """
    state.should_stop = status  # type: ignore[assignment]  # the stubs know its first value


def is_stopping() -> bool:
    """Return whether Celery's main loop is stopping, for whichever reason, such as SIGHUP."""
    return state.should_stop is not None


def replace_signal_handlers(numbers: Iterable[int], handle: Callable[..., None]) -> None:
    """Replace Celery's signal handlers; call in the main thread once the worker is ready.

    Upstream: on a second signal Celery's handlers cancel running tasks, which its thread pool does
    not support. Patch: `handle` takes over.
    """
    for number in numbers:
        signal.signal(number, handle)


def on_loop_turn(consumer: Any, callback: Callable[[], None]) -> None:
    """Call back at every turn of Celery's main loop."""
    consumer.hub.on_tick.add(callback)


def consumer_qos(consumer: Any) -> QoS | None:
    """Return the record of the messages that Celery's consumer has not acknowledged.

    Upstream: https://github.com/celery/celery/issues/5935 asks for a way to renew the visibility
    timeout of long tasks; there is none. Patch: reach through the consumer to its channel. The
    result is None while the consumer has no connection; each new connection has a new record.
    """
    task_consumer = getattr(consumer, "task_consumer", None)
    qos = task_consumer.channel.qos if task_consumer is not None else None
    return qos if isinstance(qos, QoS) else None
