"""The feeder on a real broker: never too much in the queue, nothing lost, nothing twice."""

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deploy.local import LocalStack
from producer import Client
from producer.run.ledger import Batch, UnknownRun, feeder_key
from producer.sync.feeder_lock import Taken
from producer.sync.look_ahead import look_ahead
from tests.runs import BULK, SPEC, answer, feeder_of, feeding, outcome_of, plan_of, waiting


@pytest.fixture
def client(stack: LocalStack) -> Iterator[Client]:
    """A database without workers, emptied for each test."""
    with Client(stack.broker_url.removesuffix("/0") + "/1") as client:
        client.runs.server.flushdb()
        yield client


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_input_is_sent_once_and_counted(client: Client) -> None:
    verdicts = ["send", "current", "excluded", "send", "conflicting", "send"]
    feeder = feeder_of(client, plan_of(*verdicts))
    with feeding(feeder) as thread:
        until(lambda: len(waiting(client)) == 3)
        jobs = answer(client, 3)
        thread.join(10)
    assert [str(job.source) for job in jobs] == [f"s3://photos/in/{n}.jpg" for n in (0, 3, 5)]
    record = client.runs.record(str(feeder.run))
    assert record.state == "finished"
    counts = record.counts
    assert (counts.seen, counts.sent, counts.done) == (6, 3, 3)
    assert (counts.current, counts.excluded, counts.conflicting) == (1, 1, 1)
    assert [failure.code for failure in record.failures] == ["name_conflict"]
    assert record.pixels == 3 * 600
    assert record.seconds == {"model": 1.5, "total": 3}
    assert len(record.sample) == len(record.slowest) == 3


def test_with_nothing_to_send_there_is_no_run(client: Client) -> None:
    feeder = feeder_of(client, plan_of("current", "excluded", "current"))
    feeder.feed()
    assert feeder.run is None
    assert (feeder.planned.seen, feeder.planned.current) == (3, 2)
    assert client.runs.runs() == []


def test_no_more_is_in_flight_than_the_window_allows(client: Client) -> None:
    feeder = feeder_of(client, plan_of(*["send"] * 50), window=8)
    with feeding(feeder) as thread:
        most = answered = 0
        while thread.is_alive():
            if feeder.run:
                most = max(most, client.runs.in_flight(feeder.run), len(waiting(client)))
            answered += len(answer(client, 3))
    assert answered == 50
    assert most == 8


def test_a_window_of_no_size_grows_where_workers_run_dry(client: Client) -> None:
    feeder = feeder_of(client, plan_of(*["send"] * 5000), window=None)
    with feeding(feeder):
        until(lambda: client.runs.server.llen(BULK) == 2000)
        time.sleep(0.5)
        assert client.runs.server.llen(BULK) == 2000
        client.runs.server.delete(BULK)  # Workers have taken them all.
        until(lambda: client.runs.server.llen(BULK) == 2000)


def test_a_run_that_was_broken_off_goes_on_where_it_was(client: Client) -> None:
    plan = plan_of(*["send"] * 30)
    first = feeder_of(client, plan, window=10)
    with feeding(first):
        until(lambda: len(waiting(client)) == 10)
        answer(client, 4)
    assert client.runs.unfinished(SPEC) == first.run
    second = feeder_of(client, plan, run=first.run, window=100)
    with feeding(second) as thread:
        until(lambda: client.runs.brief(str(first.run)).counts.sent == 30)
        sources = {str(job.source) for job in answer(client, 100)}
        thread.join(10)
    assert len(sources) == 26
    counts = client.runs.brief(str(first.run)).counts
    assert (counts.seen, counts.sent, counts.done) == (30, 30, 30)
    assert client.runs.unfinished(SPEC) is None


def test_what_was_written_down_and_never_sent_is_sent_by_the_next_feeder(client: Client) -> None:
    plan = plan_of(*["send"] * 5)
    dead = feeder_of(client, plan)
    batch = Batch(cursor="")
    dead._fill(batch, plan(""), 3)
    batch = dead._begin(batch)
    assert client.runs.commit(str(dead.run), batch, before="")
    assert dead._lock
    dead._lock.release()
    feeder = feeder_of(client, plan, run=dead.run)
    with feeding(feeder) as thread:
        until(lambda: len(waiting(client)) == 5)
        assert len(answer(client, 9)) == 5
        thread.join(10)
    assert client.runs.brief(str(dead.run)).counts.done == 5


def be_impatient(client: Client) -> None:
    options = client.app.conf.broker_transport_options
    client.app.conf.broker_transport_options = {**options, "visibility_timeout": 1}


def test_what_nobody_answers_is_sent_again_when_its_time_is_over(client: Client) -> None:
    be_impatient(client)
    feeder = feeder_of(client, plan_of("send", "send"))
    with feeding(feeder) as thread:
        until(lambda: len(waiting(client)) == 2)
        client.runs.server.rpop(BULK)  # as a worker killed at the wrong moment
        until(lambda: len(waiting(client)) == 2)
        answer(client, 2)
        thread.join(10)
    assert client.runs.brief(str(feeder.run)).counts.done == 2


def test_a_job_that_only_waits_long_is_not_sent_twice(client: Client) -> None:
    be_impatient(client)
    feeder = feeder_of(client, plan_of("send", "send"))
    with feeding(feeder) as thread:
        until(lambda: len(waiting(client)) == 2)
        time.sleep(3.5)
        assert len(waiting(client)) == 2
        answer(client, 2)
        thread.join(10)


def test_a_feeder_redis_disagrees_with_starts_again_from_the_cursor(client: Client) -> None:
    plan = plan_of(*["send"] * 12)
    feeder = feeder_of(client, plan, window=4)
    with feeding(feeder) as thread:
        until(lambda: len(waiting(client)) == 4)
        run = str(feeder.run)
        # As after a restart that lost the last batch: the cursor, the jobs and the messages.
        server = client.runs.server
        with server.pipeline(transaction=True) as pipe:
            pipe.hset(f"cutwork:run:{run}", mapping={"cursor": "1", "count:seen": 2})
            pipe.hset(f"cutwork:run:{run}", "count:sent", 2)
            jobs = waiting(client)
            pipe.hdel(f"cutwork:run:{run}:jobs", *(job.id for job in jobs[2:]))
            pipe.ltrim(BULK, -2, -1)
            pipe.execute()
        done: set[str] = set()
        while thread.is_alive():
            done |= {str(job.source) for job in answer(client, 2)}
    assert done == {f"s3://photos/in/{n}.jpg" for n in range(12)}
    counts = client.runs.brief(run).counts
    assert counts.seen == counts.sent == counts.done == 12


def test_a_run_has_one_feeder(client: Client) -> None:
    plan = plan_of(*["send"] * 3)
    feeder = feeder_of(client, plan)
    with feeding(feeder):
        until(lambda: len(waiting(client)) == 3)
        server, key = client.runs.server, feeder_key(str(feeder.run))
        server.set(key, "another-machine/1/abc", ex=15)
        with pytest.raises(Taken, match="another-machine"):
            feeder_of(client, plan, run=feeder.run).feed()
        server.set(key, f"{os.uname().nodename}/{2**22 + 1}/abc", ex=15)  # no such process
    again = feeder_of(client, plan, run=feeder.run)
    with feeding(again) as thread:
        assert len(answer(client, 3)) == 3
        thread.join(10)
    assert client.runs.brief(str(feeder.run)).state == "finished"


def test_a_sync_that_has_begun_is_not_begun_again(client: Client) -> None:
    first = client.runs.begin(SPEC, command="")
    assert client.runs.begin(SPEC, command="") == first
    assert len(client.runs.runs()) == 1


def test_a_cancelled_run_sends_nothing_more(client: Client) -> None:
    feeder = feeder_of(client, plan_of(*["send"] * 30), window=10)
    with feeding(feeder) as thread:
        until(lambda: len(waiting(client)) == 10)
        client.runs.end(str(feeder.run), "cancelled")
        answer(client, 10, state="cancelled")
        thread.join(5)
        assert not thread.is_alive()
    counts = client.runs.brief(str(feeder.run)).counts
    assert (counts.sent, counts.cancelled, counts.in_flight) == (10, 10, 0)
    assert client.runs.unfinished(SPEC) is None
    keys: list[str] = list(client.runs.server.scan_iter(f"cutwork:run:{feeder.run}*"))
    assert all(client.runs.server.ttl(key) > 86_400 for key in keys)


def test_inputs_without_a_name_of_their_own_make_no_run(client: Client) -> None:
    feeder = feeder_of(client, plan_of("current", "conflicting"))
    feeder.feed()
    assert feeder.run is None
    assert [failure.code for failure in feeder.conflicts] == ["name_conflict"]


def test_a_lock_that_redis_lost_is_taken_again_under_the_same_name(client: Client) -> None:
    feeder = feeder_of(client, plan_of("send"))
    with feeding(feeder):
        until(lambda: waiting(client))
        key = feeder_key(str(feeder.run))
        name: Any = client.runs.server.getdel(key)
        assert feeder._lock
        feeder._lock._extended = -math.inf
        until(lambda: client.runs.server.get(key))
        assert client.runs.server.get(key) == name
        assert client.runs.feeder(str(feeder.run)) == os.uname().nodename
    assert client.runs.feeder(str(feeder.run)) is None


def test_a_process_that_slept_does_not_send_what_another_has_sent(client: Client) -> None:
    feeder = feeder_of(client, plan_of("send", "send"))
    real = client.runs.commit

    def commit_and_sleep(run: str, batch: Batch, *, before: str) -> bool:
        done = real(run, batch, before=before)
        client.runs.server.set(feeder_key(run), "another-machine/1/abc")
        return done

    feeder.ledger.commit = commit_and_sleep  # type: ignore[method-assign]
    try:
        with pytest.raises(Taken, match="now fed by another"):
            feeder.feed()
    finally:
        del feeder.ledger.commit
    assert waiting(client) == []


def test_a_total_for_a_run_nobody_knows_makes_none(client: Client) -> None:
    client.runs.expect("20261122-000000-abcdef", 5)
    assert client.runs.server.keys("cutwork:run:*") == []


def test_a_run_ends_once(client: Client) -> None:
    run = client.runs.begin(SPEC, command="")
    assert client.runs.end(run, "cancelled")
    newer = client.runs.begin(SPEC, command="")
    assert not client.runs.end(run, "finished")
    assert client.runs.brief(run).state == "cancelled"
    assert client.runs.unfinished(SPEC) == newer


def test_a_run_in_the_middle_is_forgotten_some_day_too(client: Client) -> None:
    with feeding(feeder_of(client, plan_of("send", "send"))):
        until(lambda: len(waiting(client)) == 2)
        answer(client, 1)
    keys: list[str] = list(client.runs.server.scan_iter("cutwork:run:*"))
    assert len(keys) > 3
    assert all(client.runs.server.ttl(key) > 86_400 for key in keys)


def test_a_look_ahead_counts_what_will_be_sent(client: Client) -> None:
    feeder = feeder_of(client, plan_of("send", "send", "current", "send"), window=1)
    client.runs.server.hset("cutwork:unreadable", "s3://photos/in/3.jpg", "etag3")
    with feeding(feeder):
        until(lambda: waiting(client))
        look_ahead(feeder)
    assert client.runs.brief(str(feeder.run)).total == 2


def test_where_nothing_succeeds_one_at_a_time_is_tried(client: Client) -> None:
    feeder = feeder_of(client, plan_of(*["send"] * 60), window=30, probe_seconds=0)
    with feeding(feeder) as thread:
        until(lambda: len(waiting(client)) == 30)
        answer(client, 7)
        answer(client, 3, state="failed", code="not_an_image", message="no")
        until(lambda: len(waiting(client)) == 30)
        answer(client, 30, state="failed", code="access_denied", message="no")
        for _ in range(3):
            until(lambda: waiting(client))
            assert len(answer(client, 9, state="failed", code="access_denied", message="no")) == 1
        until(lambda: waiting(client))
        answer(client, 1)
        until(lambda: len(waiting(client)) == 16)
        answer(client, 16)
        thread.join(10)
    counts = client.runs.brief(str(feeder.run)).counts
    assert (counts.seen, counts.done, counts.failed) == (60, 24, 36)


def test_a_run_that_redis_has_forgotten_is_said_to_be(client: Client) -> None:
    feeder = feeder_of(client, plan_of("send"))
    thread = ThreadPoolExecutor(1).submit(feeder.feed)
    until(lambda: waiting(client))
    client.runs.server.flushdb()
    with pytest.raises(UnknownRun, match="restarted without persistence"):
        thread.result(10)


def test_a_limit_holds_over_interruptions(client: Client) -> None:
    spec = SPEC.model_copy(update={"limit": 7})
    first = feeder_of(client, plan_of(*["send"] * 30), spec=spec, window=4)
    with feeding(first):
        until(lambda: len(waiting(client)) == 4)
    second = feeder_of(client, plan_of(*["send"] * 30), spec=spec, run=first.run)
    with feeding(second) as thread:
        until(lambda: len(waiting(client)) == 7)
        answer(client, 30)
        thread.join(10)
    counts = client.runs.brief(str(first.run)).counts
    assert (counts.sent, counts.done, counts.seen) == (7, 7, 7)


def test_an_unreadable_object_is_left_alone_until_it_changes(client: Client) -> None:
    feeder = feeder_of(client, plan_of("send", "send"))
    with feeding(feeder) as thread:
        until(lambda: len(waiting(client)) == 2)
        answer(client, 1, state="failed", code="not_an_image", message="no")
        answer(client, 1, state="failed", code="storage_unavailable", message="later")
        thread.join(10)
    sources = {f"s3://photos/in/{n}.jpg": "etag" for n in (0, 1)}
    assert client.runs.unreadable(sources) == {"s3://photos/in/0.jpg"}
    assert client.runs.unreadable({"s3://photos/in/0.jpg": "changed"}) == set()
    server = client.runs.server
    server.hset("cutwork:unreadable", "s3://photos/in/0.jpg", "etag0")
    again = feeder_of(client, plan_of("send", "current"))
    again.feed()
    assert again.run is None
    assert (again.planned.known, again.planned.current) == (1, 1)
    spec = SPEC.model_copy(update={"retry_failed": True})
    retried = feeder_of(client, plan_of("send", "current"), spec=spec)
    with feeding(retried) as thread:
        until(lambda: waiting(client))
        answer(client, 1)
        thread.join(10)
    assert server.hlen("cutwork:unreadable") == 0


def test_an_outcome_counts_once_whoever_repeats_it(client: Client) -> None:
    feeder = feeder_of(client, plan_of("send", "send"))
    with feeding(feeder):
        until(lambda: len(waiting(client)) == 2)
        (job,) = answer(client, 1)
        assert not client.runs.settle(outcome_of(job, state="skipped"))
        assert not client.runs.settle(outcome_of(job.model_copy(update={"id": job.id + "x"})))
    counts = client.runs.brief(str(feeder.run)).counts
    assert (counts.done, counts.skipped, counts.in_flight) == (1, 0, 1)


def test_what_is_kept_of_a_run_is_little_and_goes(client: Client) -> None:
    """After the end only what a report needs is left, and that for a month."""
    feeder = feeder_of(client, plan_of(*["send"] * 200), window=200)
    with feeding(feeder) as thread:
        until(lambda: len(waiting(client)) == 200)
        for number in range(200):
            answer(client, 1, seconds=number)
        thread.join(10)
    record = client.runs.record(str(feeder.run))
    assert [outcome.seconds["total"] for outcome in record.slowest[:2]] == [199, 198]
    assert len(record.slowest) == len(record.sample) == 24
    assert sum(minute.images for minute in record.minutes) == 200
    keys: list[str] = list(client.runs.server.scan_iter(f"cutwork:run:{feeder.run}*"))
    assert keys
    assert all(client.runs.server.ttl(key) > 86_400 for key in keys)
