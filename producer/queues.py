"""The lists in Redis that make up the queue."""

from celery import Celery

from producer.job import BULK_PRIORITY, QUEUE


def queue_names(app: Celery) -> list[str]:
    """The queue's lists in Redis: kombu keeps one a priority."""
    options = app.conf.broker_transport_options
    return [
        f"{QUEUE}{options['sep']}{step}" if step else QUEUE for step in options["priority_steps"]
    ]


def bulk_queue(app: Celery) -> str:
    """The one of them that the jobs of runs wait in."""
    return f"{QUEUE}{app.conf.broker_transport_options['sep']}{BULK_PRIORITY}"
