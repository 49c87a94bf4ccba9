"""Jobs into the broker's queue, many to one exchange with the server."""

from collections.abc import Sequence
from typing import Final

from celery import Celery

from producer.contract.job import BULK_PRIORITY, SINGLE_PRIORITY, TASK_NAME, Job
from producer.observability.tracing import submission_span
from producer.store.routes import Routes

_AT_ONCE: Final = 500
"""Messages sent to the server together; a batch that fails is in the queue or not, as a whole."""


def publish(app: Celery, jobs: Sequence[Job]) -> None:
    """Send jobs in order, those of runs behind all single ones.

    Raises kombu's `OperationalError` or `BatchPublishError`, or an `OSError`, when the broker
    fails; some of the jobs may then be in the queue.
    """
    routes = Routes.from_app(app)
    with (
        app.producer_pool.acquire(block=True, timeout=30) as producer,
        # Not in the stubs yet: kombu has it since 5.7.
        producer.batch(max_size=_AT_ONCE),  # type: ignore[attr-defined]
    ):
        for job in jobs:
            # What `app.send_task` does, without a subscription for a result nobody stores.
            message = app.amqp.as_task_v2(
                job.id,
                TASK_NAME,
                args=(job.to_message(),),
                kwargs={},
                argsrepr=job.id,
                kwargsrepr="{}",
                ignore_result=True,
            )
            with submission_span(job) as headers:
                app.amqp.send_task_message(
                    producer,
                    TASK_NAME,
                    message,
                    queue=routes.queue_for(job),
                    priority=BULK_PRIORITY if job.run else SINGLE_PRIORITY,
                    headers=headers,
                    declare=[],
                    retry=False,
                )
