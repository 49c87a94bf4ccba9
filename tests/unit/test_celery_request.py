"""No delivery ends without an outcome of its job, or is requeued."""

from typing import Any

import pytest
import redis
from billiard.einfo import ExceptionInfo
from celery import Celery
from celery.exceptions import Ignore, Reject, Retry, WorkerLostError

from producer.contract.outcome import Outcome
from worker.broker.celery_request import Request, needs_outcome
from worker.broker.early_outcomes import early_outcomes


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


class Unreachable:
    """The state of a worker whose broker does not answer."""

    signed = False

    def __init__(self, *, stopping: bool = False) -> None:
        self._stopping = stopping

    def record(self, outcome: Outcome) -> None:
        raise redis.ConnectionError(outcome.job_id)

    def revoke(self, job_id: str, reason: str) -> None:
        raise redis.ConnectionError(job_id, reason)

    def is_settled(self, tag: str) -> bool:
        return False

    def is_stopping(self) -> bool:
        return self._stopping


@pytest.mark.parametrize("stopping", [False, True])
def test_a_delivery_without_an_outcome_is_requeued(
    monkeypatch: pytest.MonkeyPatch, stopping: bool
) -> None:
    monkeypatch.setattr(early_outcomes, "recorder", Unreachable(stopping=stopping))
    app = Celery()
    ended: list[tuple[str, bool | None]] = []
    request = Request(
        _Message(),
        app=app,
        task=app.tasks["celery.chain"],
        on_ack=lambda *_: ended.append(("acknowledged", None)),
        on_reject=lambda _logger, _errors, requeue: ended.append(("rejected", requeue)),
    )
    try:
        raise ValueError
    except ValueError:
        request.on_failure(ExceptionInfo(internal=True))
    assert ended == [("rejected", True)]


class _Message:
    """A message as kombu has decoded it."""

    delivery_tag = "tag"

    def __init__(self) -> None:
        self.payload = self.body = [[{"id": "a-job"}], {}, {}]
        self.headers = {"id": "a-job", "task": "celery.chain"}
        self.properties: dict[str, Any] = {}
        self.delivery_info: dict[str, Any] = {}
