"""Send jobs to their queues, many in one round trip."""

from collections.abc import Sequence
from typing import Final

from celery import Celery

from producer.contract.job import BULK_PRIORITY, SINGLE_PRIORITY, TASK_NAME, Job
from producer.observability.tracing import submission_span
from producer.store.deadline import seconds_left
from producer.store.routes import Routes

_BATCH: Final = 500
"""Messages sent to the server in one pipeline."""


def publish(app: Celery, jobs: Sequence[Job]) -> None:
    """Send jobs in order; those of runs have a lower priority than single jobs.

    Raises kombu's `OperationalError` or `BatchPublishError`, or an `OSError`, when the broker
    fails; some of the jobs may then be in the queue.
    """
    routes = Routes.from_app(app)
    with (
        app.producer_pool.acquire(block=True, timeout=min(30, seconds_left())) as producer,
        # Not in the stubs yet: new in kombu 5.7.
        producer.batch(max_size=_BATCH),  # type: ignore[attr-defined]
    ):
        for job in jobs:
            # As `app.send_task`, but without subscribing to a result that is never stored.
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
