"""While the broker does not answer, the log has one line each time the state changes."""

import logging
from typing import Any

from celery.app.trace import log_policy_reject
from celery.worker.consumer import consumer as _untyped_consumer

from worker.runtime.outage_log import _MISSED, OutageFilter, is_not_rejection

consumer: Any = _untyped_consumer


def record(text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("celery", logging.INFO, "", 0, text, arguments, None)


LOST = record("%s (%r)", consumer.CONNECTION_RETRY, OSError("closed"))
REFUSED = record(consumer.CONNECTION_ERROR, "redis://", OSError("refused"), "in 2.00 seconds")
CONNECTED = record("Connected to %s", "redis://")
OTHER = record("job %s done", "a")


def test_what_repeats_a_known_state_is_left_out() -> None:
    outage = OutageFilter()
    missed = [record(text, OSError("refused")) for text in _MISSED]
    for _ in range(2):
        assert outage.filter(LOST)
        assert outage.filter(REFUSED)
        assert not any(outage.filter(item) for item in (REFUSED, REFUSED, *missed))
        assert outage.filter(OTHER)
        assert outage.filter(CONNECTED)


def test_each_reason_for_a_refused_connection_is_said_once() -> None:
    outage = OutageFilter()
    reasons = [OSError("refused"), OSError("READONLY")]
    refused = [record(consumer.CONNECTION_ERROR, "redis://", error, "…") for error in reasons]
    assert [outage.filter(item) for item in refused * 2] == [True, True, False, False]
    # Celery logs it with a traceback every second.
    assert not outage.filter(record("Frequent restarts detected: %r", OSError()))
    assert outage.filter(CONNECTED)
    assert outage.filter(record("Frequent restarts detected: %r", OSError()))


def test_what_a_thread_misses_is_said_once_a_minute_while_celery_is_connected() -> None:
    """A broker that is full refuses writes for hours, and Celery's connection stays."""
    outage = OutageFilter()
    for text in _MISSED:
        first, soon, later = (record(text, OSError("full")) for _ in range(3))
        soon.created, later.created = first.created + 59, first.created + 60
        assert [outage.filter(item) for item in (first, soon, later)] == [True, False, True]


def test_celery_s_traceback_of_a_requeued_job_is_left_out() -> None:
    rejected, other = record(log_policy_reject.format), record("failed")
    rejected.data = {"description": log_policy_reject.description}
    assert not is_not_rejection(rejected)
    assert is_not_rejection(other)
