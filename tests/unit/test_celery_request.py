"""Which errors around a task leave a job without an outcome."""

from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from celery.exceptions import Ignore, Reject, Retry, WorkerLostError

from worker.broker.celery_request import needs_outcome


@pytest.mark.parametrize(
    ("error", "needed"),
    [
        *((ValueError("x"), True), (KeyError("options"), True), (RecursionError(), True)),
        *((Reject("x", requeue=True), False), (Retry("x", ValueError("y")), False)),
        *((Ignore(), False), (WorkerLostError("x"), False), (MemoryError(), False)),
        (SystemExit(1), False),
    ],
    ids=repr,
)
def test_an_error_needs_an_outcome_unless_the_task_has_said_how_it_ends(
    error: BaseException, needed: bool
) -> None:
    try:
        raise error
    except BaseException:  # noqa: BLE001 - Celery wraps every kind
        info = ExceptionInfo(internal=True)
    wrapped: Any = info.exception
    assert needs_outcome(wrapped) is needed
    assert needs_outcome(error) is needed
