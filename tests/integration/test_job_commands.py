"""`cutwork outcome` and `cutwork cancel` for one job, without a worker."""

import json

import pytest
from typer.testing import CliRunner, Result

from producer import Client, Outcome
from producer.cli.main import app
from producer.contract.run import RunSpec
from producer.store.ledger import Ledger
from tests.support.jobs import job_of


@pytest.fixture(autouse=True)
def broker(idle: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTWORK_BROKER_URL", idle.broker_url)


def cutwork(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def test_the_id_that_submit_prints_is_found(idle: Client) -> None:
    job_id = cutwork("submit", "s3://photos/a.jpg", "s3://cutouts/a.webp").stdout.strip()
    pending = cutwork("outcome", job_id, "--json")
    assert pending.exit_code == 3
    assert json.loads(pending.stdout) == {"job_id": job_id, "state": "pending"}
    assert "is pending" in pending.stderr
    (job,) = idle._ledger.pending_jobs([job_id])
    assert job.options.image_format == "webp"
    Ledger(idle.broker_url).record_outcome(Outcome(job_id=job_id, state="skipped"))
    for words in (("outcome", job_id), ("outcome", job_id, "--wait")):
        ended = cutwork(*words)
        assert ended.exit_code == 0
        assert "skipped" in ended.stdout


def test_a_failed_outcome_is_shown_with_its_code(idle: Client) -> None:
    outcome = Outcome(job_id="a", state="failed", code="source_not_found", message="no such object")
    idle._ledger.record_outcome(outcome)
    failed = cutwork("outcome", "a")
    assert failed.exit_code == 1
    assert "source_not_found: no such object" in failed.stderr
    assert json.loads(cutwork("outcome", "a", "--json").stdout)["code"] == "source_not_found"


def test_unknown_and_malformed_ids_are_wrong_commands() -> None:
    unknown = cutwork("outcome", "deadbeef")
    assert unknown.exit_code == 2
    assert "found neither" in unknown.stderr
    for words in (("outcome", "two words"), ("cancel", "two words"), ("cancel", "deadbeef")):
        assert cutwork(*words).exit_code == 2, words


def test_a_job_of_a_run_is_pending_and_then_counted(idle: Client) -> None:
    run = idle.runs.begin(RunSpec(source="s3://photos/", image="s3://cutouts/"), command="")
    job_id = f"{run}.1"
    idle.runs.server.hset(f"cutwork:run:{run}:jobs", job_id, json.dumps(job_of(0).to_message()))
    assert "is pending" in cutwork("outcome", job_id).stderr
    assert cutwork("cancel", job_id).exit_code == 0
    counted = cutwork("outcome", job_id)
    assert counted.exit_code == 3
    assert f"cutwork report {run}" in counted.stderr
    assert idle.runs.summary(run).counts.cancelled == 1
    assert "0 queued jobs will not start" in cutwork("cancel", run).stdout


def test_a_job_is_cancelled_once(idle: Client) -> None:
    (handle,) = idle.submit_many([job_of(0)])
    cancelled = cutwork("cancel", handle.id)
    assert (cancelled.exit_code, cancelled.stdout) == (
        0,
        f"job {handle.id} cancelled; it will not start\n",
    )
    shown = cutwork("outcome", handle.id)
    assert shown.exit_code == 1
    assert "cancelled: did not begin" in shown.stderr
    again = cutwork("cancel", handle.id)
    assert again.exit_code == 3
    assert "has begun or ended" in again.stderr


def test_a_misleading_name_is_a_wrong_command() -> None:
    refused = cutwork("submit", "s3://photos/a.jpg", "s3://cutouts/b.jpg")
    assert refused.exit_code == 2
    assert "jpeg has no transparency" in refused.stderr
