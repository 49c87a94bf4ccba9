"""A run of a newer release, or a broken one, does not affect other runs."""

import json
import time
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from typer.testing import CliRunner, Result

from producer import Client
from producer.cli.main import app
from producer.contract.outcome import Outcome
from producer.store.unreadable_run import UnreadableRun
from tests.support.runs import BULK, SPEC, feeder_of, feeding, plan_of, until, waiting

BROKEN = "20261122-000000-bad000"


@pytest.fixture
def lost_job_run(idle: Client, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run without a feeder, with a lost job older than the visibility timeout."""
    monkeypatch.setenv("CUTWORK_BROKER_URL", idle.broker_url)
    monkeypatch.setenv("CUTWORK_VISIBILITY_TIMEOUT", "1")
    feeder = feeder_of(idle, plan_of("send"))
    with feeding(feeder):
        until(lambda: len(waiting(idle)) == 1)
    idle.runs.server.delete(BULK)
    return str(feeder.run)


def store_run(client: Client, facts: Mapping[str, Any] | None, *, run: str = BROKEN) -> None:
    """Store a run as another program would; None for a value that is not a hash."""
    server = client.runs.server
    server.zadd("cutwork:runs", {run: time.time()})
    if facts is None:
        server.set(f"cutwork:run:{run}", "text")
    else:
        server.hset(f"cutwork:run:{run}", mapping=dict[Any, Any](facts))


def run_cutwork(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_the_other_runs_continue(
    idle: Client, lost_job_run: str, caplog: pytest.LogCaptureFixture
) -> None:
    known = {"state": "running", "spec": SPEC.model_dump_json(), "created_at": 1}
    records: list[dict[str, Any] | None] = [
        {"state": "running"},
        known | {"spec": "{"},
        known | {"state": "resting"},
        known | {"count:done": "x"},
        None,
    ]
    broken = [f"{BROKEN[:-1]}{number}" for number in range(1, len(records) + 1)]
    for run, facts in zip(broken, records, strict=True):
        store_run(idle, facts, run=run)
    assert [record.id for record in idle.runs.runs()] == [lost_job_run]
    assert idle.pending() == 1
    for run in broken:
        assert f"run {run}: expected a record as this release writes it" in caplog.text
        result = run_cutwork("cancel", run)
        assert (result.exit_code, "expected a record" in result.stderr) == (3, True)
    # A readable record with unreadable lists.
    store_run(idle, known)
    for part in ("jobs", "feeder"):
        idle.runs.server.rpush(f"cutwork:run:{BROKEN}:{part}", "item")
    assert idle.pending() == 1
    assert lost_job_run in run_cutwork("runs").stdout
    time.sleep(1.1)
    with Client() as hasty:
        assert hasty.sweep.recover() == 1
    assert f"the feeder of run {BROKEN} cannot be read" in caplog.text


def test_a_run_of_a_newer_release_is_shown_and_cancelled_but_not_resumed(idle: Client) -> None:
    spec = json.loads(SPEC.model_dump_json())
    spec |= {"newer": 1, "options": spec["options"] | {"newer": 2}}
    facts = {"state": "running", "spec": json.dumps(spec), "created_at": 1, "count:newer": 1}
    store_run(idle, facts)
    (record,) = idle.runs.runs()
    assert record.spec == SPEC
    with pytest.raises(UnreadableRun, match="newer"):
        idle.runs.spec(BROKEN)
    assert idle.runs.end(BROKEN, "cancelled")


def test_a_refusing_broker_is_not_reported_as_unreachable(
    idle: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUTWORK_BROKER_URL", idle.broker_url)
    idle.runs.server.set("cutwork:runs", "text")
    result = run_cutwork("status")
    assert result.exit_code == 3
    assert "refuses (WRONGTYPE" in result.stderr
    assert "does not answer" not in result.stderr


@pytest.mark.parametrize("part", ["", ":jobs"])
def test_jobs_of_a_run_whose_key_was_replaced_end(idle: Client, part: str) -> None:
    """Otherwise their messages would be delivered again for ever."""
    ledger = idle.connections.ledger
    server, job = ledger.redis, f"{BROKEN}.1"
    outcome = Outcome(job_id=job, state="done")
    server.hset(f"cutwork:run:{BROKEN}:jobs", job, "{}")
    server.delete(f"cutwork:run:{BROKEN}{part}")
    server.rpush(f"cutwork:run:{BROKEN}{part}", "item")
    assert ledger.runs.is_cancelled(BROKEN) is (part == "")
    assert not ledger.runs.record_outcome(outcome)
    assert part or not server.hexists(f"cutwork:run:{BROKEN}:jobs", job)


@pytest.mark.parametrize("text", ["", "[]", "no JSON", '{"source": 1}', '{"source": "s3://a/b"}'])
@pytest.mark.parametrize("state", ["done", "failed"])
def test_an_outcome_is_counted_whatever_the_other_keys_of_its_run_hold(
    idle: Client, state: Literal["done", "failed"], text: str
) -> None:
    ledger = idle.connections.ledger
    server, job = ledger.redis, f"{BROKEN}.1"
    outcome = Outcome(job_id=job, state=state, code="corrupt_image" if state == "failed" else None)
    store_run(idle, {"state": "running", "spec": "{}", "created_at": 1, "pixels": "x"})
    server.hset(f"cutwork:run:{BROKEN}:jobs", job, text)
    for part in ("failures", "slowest", "suspicious", "sample", "minutes"):
        server.set(f"cutwork:run:{BROKEN}:{part}", "text")
    assert ledger.runs.record_outcome(outcome)
    assert server.hget(f"cutwork:run:{BROKEN}", f"count:{state}") == "1"
    assert not ledger.runs.record_outcome(outcome)


def test_a_run_with_a_forged_time_is_left_out_by_name(
    idle: Client, lost_job_run: str, caplog: pytest.LogCaptureFixture
) -> None:
    store_run(idle, {"state": "running", "spec": SPEC.model_dump_json(), "created_at": "1e300"})
    result = run_cutwork("runs")
    assert (result.exit_code, lost_job_run in result.stdout) == (0, True)
    assert f"run {BROKEN}: expected a record" in caplog.text
    assert run_cutwork("report", BROKEN).exit_code == 3
