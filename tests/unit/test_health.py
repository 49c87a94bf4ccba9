"""Liveness and readiness of a worker."""

from typing import Any

import pytest

from worker.observability.health import Check, Health

BROKER = Check("broker", True, "answers")


def health(**parts: Any) -> Health:
    return Health(
        **{
            "check_broker": lambda: BROKER,
            "find_overdue_call": lambda: None,
            "find_overdue_stage": lambda: None,
            "is_stopping": lambda: False,
            "loop_timeout": 1000.0,
            **parts,
        }
    )


def failures(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.text for check in checks if not check.ok}


def test_a_worker_is_ready_once_it_has_started() -> None:
    worker = health()
    worker.begin_step("loads u2netp")
    assert failures(worker.readiness()) == {"start": "loads u2netp"}
    assert failures(worker.liveness()) == {}
    worker.finish_start()
    assert failures(worker.readiness()) == {}


def test_a_device_that_hangs_fails_both_probes() -> None:
    worker = health(find_overdue_call=lambda: "a batch of 1 on cpu")
    worker.finish_start()
    expected = {"device": "a batch of 1 on cpu has not answered in time"}
    assert failures(worker.liveness()) == failures(worker.readiness()) == expected


def test_a_worker_that_stops_is_alive_and_not_ready() -> None:
    worker = health(is_stopping=lambda: True, loop_timeout=-1.0)
    worker.finish_start()
    assert failures(worker.readiness()) == {"drain": "takes no more jobs"}
    assert failures(worker.liveness()) == {}


@pytest.mark.parametrize("answers", [True, False])
def test_a_loop_that_stands_still_fails_while_the_broker_answers(answers: bool) -> None:
    worker = health(check_broker=lambda: BROKER._replace(ok=answers), loop_timeout=-1.0)
    worker.finish_start()
    assert ("loop" in failures(worker.liveness())) is answers
