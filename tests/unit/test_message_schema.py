"""What passes the check of a message can be used by Celery."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from celery.utils.time import timezone
from kombu.asynchronous.timer import to_timestamp

from tests.support.messages import signature, whole_message
from worker.broker.message_schema import check, normalize


@pytest.mark.parametrize("name", ["header", "body", "task", "tasks", "options"])
@pytest.mark.parametrize("kind", ["group", "chord", "chunks"])
def test_arguments_that_a_signature_s_type_does_not_have_are_data(name: str, kind: str) -> None:
    known: dict[str, dict[str, Any]] = {
        "group": {"tasks": [signature()]},
        "chord": {"header": [signature()], "body": signature(), "kwargs": {}},
        "chunks": {"task": signature(), "it": []},
    }
    message = copy.deepcopy(whole_message())
    kwargs = {name: 5} | known[kind]
    message["body"][2] = {"chain": [signature(f"celery.{kind}", kwargs=kwargs, subtask_type=kind)]}
    check(**message)


@pytest.mark.parametrize("name", ["self", "name", "args", "kwargs", "result_cls", "task_type"])
def test_options_that_celery_would_take_for_other_parameters_are_refused(name: str) -> None:
    message = copy.deepcopy(whole_message())
    message["body"][2] = {"chain": [signature(options={name: "x"})]}
    with pytest.raises(ValueError, match=name):
        check(**message)


@pytest.mark.parametrize("name", ["eta", "expires"])
@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00", "9999-12-31T23:59:59-14:00"]
)
def test_celery_can_convert_every_time(name: str, text: str) -> None:
    headers: dict[str, Any] = {name: text, "retries": 1}
    normalize(headers)
    moment = datetime.fromisoformat(headers[name])
    assert to_timestamp(timezone.to_system(moment)) >= 0
    assert (moment < datetime.now(UTC)) is text.startswith("0001")
