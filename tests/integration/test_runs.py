"""A run in Redis: its outcomes count once, it ends once, and it expires."""

from producer import Client
from tests.support.patience import PATIENCE
from tests.support.runs import SPEC, answer, feeder_of, feeding, outcome_of, plan_of, until, waiting


def test_a_running_sync_is_not_begun_twice(idle: Client) -> None:
    first = idle.runs.begin(SPEC, command="")
    assert idle.runs.begin(SPEC, command="") == first
    assert len(idle.runs.runs()) == 1


def test_a_run_ends_once(idle: Client) -> None:
    run = idle.runs.begin(SPEC, command="")
    assert idle.runs.end(run, "cancelled")
    newer = idle.runs.begin(SPEC, command="")
    assert not idle.runs.end(run, "finished")
    assert idle.runs.summary(run).state == "cancelled"
    assert idle.runs.find_unfinished(SPEC) == newer


def test_a_total_does_not_create_a_run(idle: Client) -> None:
    idle.runs.set_total("20261122-000000-abcdef", 5)
    assert idle.runs.server.keys("cutwork:run:*") == []


def test_an_unfinished_run_expires(idle: Client) -> None:
    with feeding(feeder_of(idle, plan_of("send", "send"))):
        until(lambda: len(waiting(idle)) == 2)
        answer(idle, 1)
    keys: list[str] = list(idle.runs.server.scan_iter("cutwork:run:*"))
    assert len(keys) > 3
    assert all(idle.runs.server.ttl(key) > 86_400 for key in keys)


def test_a_repeated_outcome_counts_once(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of("send", "send"))
    with feeding(feeder):
        until(lambda: len(waiting(idle)) == 2)
        (job,) = answer(idle, 1)
        assert not idle.runs.record_outcome(outcome_of(job, state="skipped"))
        assert not idle.runs.record_outcome(outcome_of(job.model_copy(update={"id": job.id + "x"})))
    counts = idle.runs.summary(str(feeder.run)).counts
    assert (counts.done, counts.skipped, counts.in_flight) == (1, 0, 1)


def test_an_ended_run_stores_little_and_expires(idle: Client) -> None:
    """After the end only the data of the report is stored, for a month."""
    feeder = feeder_of(idle, plan_of(*["send"] * 200), window=200)
    with feeding(feeder) as thread:
        until(lambda: len(waiting(idle)) == 200)
        for number in range(200):
            answer(idle, 1, seconds=number)
        thread.join(PATIENCE)
    record = idle.runs.record(str(feeder.run))
    assert [outcome.seconds["total"] for outcome in record.slowest[:2]] == [199, 198]
    assert len(record.slowest) == len(record.sample) == 24
    assert sum(minute.images for minute in record.minutes) == 200
    keys: list[str] = list(idle.runs.server.scan_iter(f"cutwork:run:{feeder.run}*"))
    assert keys
    assert all(idle.runs.server.ttl(key) > 86_400 for key in keys)
