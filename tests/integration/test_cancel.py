"""One job is cancelled: in the ledger, and by a worker that receives its message."""

import pytest

from producer import Client, Outcome
from producer.store.publish import publish
from tests.support.jobs import job_of
from tests.support.patience import PATIENCE
from tests.support.runs import SPEC


def count(client: Client, job_id: str) -> tuple[int, bool]:
    delivery = client._ledger.deliveries.count_delivery(job_id, visibility_timeout=0)
    return delivery.number, delivery.is_cancelled


def test_a_cancelled_job_has_an_outcome_at_once_and_does_not_begin(idle: Client) -> None:
    (handle,) = idle.submit_many([job_of(0)])
    assert idle._ledger.cancel(handle.id, reason="a test") == "cancelled"
    outcome = handle.wait(PATIENCE)
    assert (outcome.state, outcome.message) == ("cancelled", "did not begin: a test")
    assert idle.pending() == 0
    assert count(idle, handle.id) == (0, True)
    assert idle._ledger.cancel(handle.id, reason="again") == "ended"


def test_a_job_that_has_begun_ends_as_usual_but_does_not_begin_again(idle: Client) -> None:
    (handle,) = idle.submit_many([job_of(0)])
    assert count(idle, handle.id) == (1, False)
    assert idle._ledger.cancel(handle.id, reason="a test") == "begun"
    assert handle.outcome() is None
    assert count(idle, handle.id) == (1, True)
    idle._ledger.record_outcome(Outcome(job_id=handle.id, state="done"))
    idle._ledger.record_outcome(Outcome(job_id=handle.id, state="cancelled"))
    assert handle.wait(PATIENCE).state == "done"


def test_a_job_that_no_client_submitted_does_not_begin_either(idle: Client) -> None:
    assert idle._ledger.cancel("of-a-canvas", reason="a test") == "unknown"
    assert count(idle, "of-a-canvas") == (0, True)


def test_a_job_of_a_run_that_is_no_longer_in_flight_has_ended(idle: Client) -> None:
    run = idle.runs.begin(SPEC, command="cutwork sync")
    job_id = f"{run}.abc"
    assert idle.handle(job_id).state() == "ended"
    assert not idle.cancel(job_id)
    assert count(idle, job_id) == (1, False)


def test_a_job_that_is_submitted_again_begins(idle: Client) -> None:
    (handle,) = idle.submit_many([job_of(0)])
    idle._ledger.cancel(handle.id, reason="a test")
    idle.submit_many([handle.job])
    assert handle.outcome() is None
    assert count(idle, handle.id) == (1, False)


def test_keys_of_other_types_do_not_stop_a_cancellation(idle: Client) -> None:
    for key in ("cutwork:pending", "cutwork:delivery:a", "cutwork:run::jobs"):
        idle.runs.server.set(key, "text")
    assert idle._ledger.cancel("a", reason="a test") == "unknown"


@pytest.mark.usefixtures("worker")
def test_a_worker_that_receives_a_cancelled_job_stores_the_outcome(client: Client) -> None:
    """As if the process that cancelled it had ended between the mark and the outcome."""
    job = job_of(0)
    client._ledger.add_pending(job)
    client._ledger._cancellations.mark(job.id)
    publish(client.app, [job])
    outcome = client.handle(job).wait(PATIENCE)
    assert (outcome.state, outcome.worker is not None) == ("cancelled", True)
