"""The feeder on a real broker: the window holds, and every input is sent exactly once."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from producer import Client
from producer.observability.events import Events
from producer.store.runs import Batch, UnknownRun
from producer.sync.count_remaining import count_remaining
from producer.sync.follow import follow_progress
from producer.sync.trial import EveryJobFails
from tests.support.patience import PATIENCE
from tests.support.runs import BULK, SPEC, answer, feeder_of, feeding, plan_of, until, waiting


def test_every_input_is_sent_once_and_counted(idle: Client) -> None:
    verdicts = ["send", "current", "excluded", "send", "conflicting", "send"]
    feeder = feeder_of(idle, plan_of(*verdicts))
    with feeding(feeder) as thread:
        until(lambda: len(waiting(idle)) == 3)
        jobs = answer(idle, 3)
        thread.join(PATIENCE)
    assert [str(job.source) for job in jobs] == [f"s3://photos/in/{n}.jpg" for n in (0, 3, 5)]
    record = idle.runs.record(str(feeder.run))
    assert record.state == "finished"
    counts = record.counts
    assert (counts.seen, counts.sent, counts.done) == (6, 3, 3)
    assert (counts.current, counts.excluded, counts.conflicting) == (1, 1, 1)
    assert [failure.code for failure in record.failures] == ["name_conflict"]
    assert record.pixels == 3 * 600
    assert record.seconds == {"model": 1.5, "total": 3}
    assert len(record.sample) == len(record.slowest) == 3


def test_a_plan_without_jobs_begins_no_run(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of("current", "excluded", "current"))
    feeder.feed()
    assert feeder.run is None
    assert (feeder.planned.seen, feeder.planned.current) == (3, 2)
    assert idle.runs.runs() == []


def test_no_more_is_in_flight_than_the_window_allows(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of(*["send"] * 50), window=8)
    with feeding(feeder) as thread:
        max_in_flight = answered = 0
        while thread.is_alive():
            if feeder.run:
                max_in_flight = max(
                    max_in_flight, idle.runs.in_flight(feeder.run), len(waiting(idle))
                )
            answered += len(answer(idle, 3))
    assert answered == 50
    assert max_in_flight == 8


def test_a_window_without_a_size_grows_when_workers_run_idle(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of(*["send"] * 5000), window=None)
    with feeding(feeder):
        until(lambda: idle.runs.server.llen(BULK) == 2000)
        time.sleep(0.5)
        assert idle.runs.server.llen(BULK) == 2000
        idle.runs.server.delete(BULK)  # Workers have taken them all.
        until(lambda: idle.runs.server.llen(BULK) == 2000)


def test_an_interrupted_run_resumes_at_its_cursor(idle: Client) -> None:
    plan = plan_of(*["send"] * 30)
    first = feeder_of(idle, plan, window=10)
    with feeding(first):
        until(lambda: len(waiting(idle)) == 10)
        answer(idle, 4)
    assert idle.runs.find_unfinished(SPEC) == first.run
    second = feeder_of(idle, plan, run=first.run, window=100)
    with feeding(second) as thread:
        until(lambda: len(waiting(idle)) == 26)
        sources = {str(job.source) for job in answer(idle, 100)}
        thread.join(PATIENCE)
    assert len(sources) == 26
    counts = idle.runs.summary(str(first.run)).counts
    assert (counts.seen, counts.sent, counts.done) == (30, 30, 30)
    assert idle.runs.find_unfinished(SPEC) is None


def test_the_next_feeder_sends_jobs_that_were_stored_and_never_sent(idle: Client) -> None:
    plan = plan_of(*["send"] * 5)
    dead = feeder_of(idle, plan)
    batch = Batch(cursor="")
    dead._fill_batch(batch, plan(""), 3)
    dead._begin_run(batch)
    assert idle.runs.commit_batch(str(dead.run), batch, before="")
    assert dead._lock
    dead._lock.release()
    feeder = feeder_of(idle, plan, run=dead.run)
    with feeding(feeder) as thread:
        until(lambda: len(waiting(idle)) == 5)
        assert len(answer(idle, 9)) == 5
        thread.join(PATIENCE)
    assert idle.runs.summary(str(dead.run)).counts.done == 5


def shorten_visibility_timeout(idle: Client) -> None:
    options = idle.app.conf.broker_transport_options
    idle.app.conf.broker_transport_options = {**options, "visibility_timeout": 1}


def test_a_lost_job_is_sent_again_after_the_visibility_timeout(idle: Client) -> None:
    shorten_visibility_timeout(idle)
    feeder = feeder_of(idle, plan_of("send", "send"))
    with feeding(feeder) as thread:
        until(lambda: len(waiting(idle)) == 2)
        idle.runs.server.rpop(BULK)  # like a worker that is killed at the wrong moment
        until(lambda: len(waiting(idle)) == 2)
        answer(idle, 2)
        thread.join(PATIENCE)
    assert idle.runs.summary(str(feeder.run)).counts.done == 2


def test_a_job_that_waits_in_the_queue_is_not_sent_twice(idle: Client) -> None:
    shorten_visibility_timeout(idle)
    feeder = feeder_of(idle, plan_of("send", "send"))
    with feeding(feeder) as thread:
        until(lambda: len(waiting(idle)) == 2)
        time.sleep(3.5)
        assert len(waiting(idle)) == 2
        answer(idle, 2)
        thread.join(PATIENCE)


def test_a_feeder_whose_cursor_moved_plans_again_from_the_new_one(idle: Client) -> None:
    plan = plan_of(*["send"] * 12)
    feeder = feeder_of(idle, plan, window=4)
    with feeding(feeder) as thread:
        until(lambda: len(waiting(idle)) == 4)
        run = str(feeder.run)
        # Like a restart that lost the last batch: the cursor, the jobs and the messages.
        server = idle.runs.server
        with server.pipeline(transaction=True) as pipe:
            pipe.hset(f"cutwork:run:{run}", mapping={"cursor": "1", "count:seen": 2})
            pipe.hset(f"cutwork:run:{run}", "count:sent", 2)
            jobs = waiting(idle)
            pipe.hdel(f"cutwork:run:{run}:jobs", *(job.id for job in jobs[2:]))
            pipe.ltrim(BULK, -2, -1)
            pipe.execute()
        done: set[str] = set()
        while thread.is_alive():
            done |= {str(job.source) for job in answer(idle, 2)}
    assert done == {f"s3://photos/in/{n}.jpg" for n in range(12)}
    counts = idle.runs.summary(run).counts
    assert counts.seen == counts.sent == counts.done == 12


def test_a_cancelled_run_sends_nothing_more(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of(*["send"] * 30), window=10)
    with feeding(feeder) as thread:
        until(lambda: len(waiting(idle)) == 10)
        idle.runs.end(str(feeder.run), "cancelled")
        answer(idle, 10, state="cancelled")
        thread.join(PATIENCE)
        assert not thread.is_alive()
    counts = idle.runs.summary(str(feeder.run)).counts
    assert (counts.sent, counts.cancelled, counts.in_flight) == (10, 10, 0)
    assert idle.runs.find_unfinished(SPEC) is None
    keys: list[str] = list(idle.runs.server.scan_iter(f"cutwork:run:{feeder.run}*"))
    assert all(idle.runs.server.ttl(key) > 86_400 for key in keys)


def test_conflicting_inputs_alone_begin_no_run(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of("current", "conflicting"))
    feeder.feed()
    assert feeder.run is None
    assert [failure.code for failure in feeder.conflicts] == ["name_conflict"]


def test_the_jobs_that_remain_are_counted(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of("send", "send", "current", "send"), window=1)
    idle.runs.server.hset("cutwork:unreadable", "s3://photos/in/3.jpg", "etag3")
    with feeding(feeder):
        until(lambda: waiting(idle))
        count_remaining(feeder)
    assert idle.runs.summary(str(feeder.run)).total == 2


def test_an_open_circuit_breaker_sends_one_probe_at_a_time(idle: Client) -> None:
    notices: list[str] = []

    class Notices(Events):
        def notice(self, sentence: str) -> None:
            notices.append(sentence)

    def fail(code: str, count: int = 1) -> int:
        return len(answer(idle, count, state="failed", code=code, message="no"))

    def is_refilled() -> bool:
        # The feeder may poll between two outcomes, and sends nothing for less than 7 free places.
        return len(waiting(idle)) > 30 - 7

    plan = plan_of(*["send"] * 200)
    feeder = feeder_of(idle, plan, window=30, probe_seconds=0, events=Notices())
    with feeding(feeder) as thread:
        until(lambda: len(waiting(idle)) == 30)
        answer(idle, 7)
        failed = fail("not_an_image", 3)
        until(is_refilled)
        assert notices == []
        # The feeder may refill the window before it has seen enough failures.
        while not notices or len(waiting(idle)) > 1:
            failed += fail("access_denied")
        for _ in range(3):
            until(lambda: waiting(idle))
            assert len(waiting(idle)) == 1
            failed += fail("access_denied")
        until(lambda: waiting(idle))
        answer(idle, 1)
        until(is_refilled)
        while thread.is_alive():
            answer(idle, 9)
    counts = idle.runs.summary(str(feeder.run)).counts
    assert (counts.seen, counts.done, counts.failed) == (200, 200 - failed, failed)


def test_a_run_that_redis_lost_is_an_unknown_run(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of("send"))
    thread = ThreadPoolExecutor(1).submit(feeder.feed)
    until(lambda: waiting(idle))
    idle.runs.server.flushdb()
    with pytest.raises(UnknownRun, match="restarted without persistence"):
        thread.result(PATIENCE)


def test_a_limit_holds_across_interruptions(idle: Client) -> None:
    spec = SPEC.model_copy(update={"limit": 7})
    first = feeder_of(idle, plan_of(*["send"] * 30), spec=spec, window=4)
    with feeding(first):
        until(lambda: len(waiting(idle)) == 4)
    second = feeder_of(idle, plan_of(*["send"] * 30), spec=spec, run=first.run)
    with feeding(second) as thread:
        until(lambda: len(waiting(idle)) == 7)
        answer(idle, 30)
        thread.join(PATIENCE)
    counts = idle.runs.summary(str(first.run)).counts
    assert (counts.sent, counts.done, counts.seen) == (7, 7, 7)


def test_an_unreadable_object_is_not_sent_until_it_changes(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of("send", "send"))
    with feeding(feeder) as thread:
        until(lambda: len(waiting(idle)) == 2)
        answer(idle, 1, state="failed", code="not_an_image", message="no")
        answer(idle, 1, state="failed", code="storage_unavailable", message="later")
        thread.join(PATIENCE)
    sources = {f"s3://photos/in/{n}.jpg": "etag" for n in (0, 1)}
    assert idle.runs.find_unreadable(sources) == {"s3://photos/in/0.jpg"}
    assert idle.runs.find_unreadable({"s3://photos/in/0.jpg": "changed"}) == set()
    server = idle.runs.server
    server.hset("cutwork:unreadable", "s3://photos/in/0.jpg", "etag0")
    second = feeder_of(idle, plan_of("send", "current"))
    second.feed()
    assert second.run is None
    assert (second.planned.known, second.planned.current) == (1, 1)
    spec = SPEC.model_copy(update={"retry_failed": True})
    retried = feeder_of(idle, plan_of("send", "current"), spec=spec)
    with feeding(retried) as thread:
        until(lambda: waiting(idle))
        answer(idle, 1)
        thread.join(PATIENCE)
    assert server.hlen("cutwork:unreadable") == 0


def test_a_run_ends_after_a_few_jobs_if_all_fail_for_the_same_options(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of(*["send"] * 300), trial_jobs=20)
    with ThreadPoolExecutor(1) as threads:
        fed = threads.submit(feeder.feed)
        until(lambda: len(waiting(idle)) == 20)
        answer(idle, 3, state="failed", code="model_invalid", message="expected a graph")
        until(lambda: idle.runs.state(str(feeder.run)) == "cancelled")
        answer(idle, 17, state="cancelled")
        with pytest.raises(EveryJobFails, match="expected a graph; the first 3 jobs"):
            fed.result()
    counts = idle.runs.summary(str(feeder.run)).counts
    assert (counts.sent, counts.failed, counts.cancelled) == (20, 3, 17)


def test_one_good_outcome_ends_the_trial(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of(*["send"] * 90), trial_jobs=20)
    with feeding(feeder):
        until(lambda: len(waiting(idle)) == 20)
        answer(idle, 1)
        until(lambda: len(waiting(idle)) == 89)


def test_many_conflicts_are_counted_and_a_bounded_number_is_kept(idle: Client) -> None:
    count = 3000
    feeder = feeder_of(idle, plan_of(*["conflicting"] * count, "send"))
    with feeding(feeder):
        until(lambda: len(waiting(idle)) == 1)
        answer(idle, 1)
        until(lambda: idle.runs.state(str(feeder.run)) == "finished")
    run = str(feeder.run)
    assert len(feeder.conflicts) == 20
    record = idle.runs.record(run)
    assert record.conflict_codes == {"name_conflict": count}
    assert (len(record.failures), record.failures_left_out) == (1000, count - 1000)
    assert len([*idle.runs.all_failures(run)]) == count
    pages = follow_progress(idle.runs, run, every=0, is_over=lambda: True)
    assert [len(progress.failures) for progress in pages] == [1000, 1000, 1000, 0]
