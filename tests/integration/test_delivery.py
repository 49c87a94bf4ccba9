"""Deliveries are counted until there is an outcome; lost messages are sent again."""

import time
from dataclasses import replace
from typing import Any

import pytest

from producer import Client, Outcome
from producer.contract.job import QUEUE
from producer.contract.s3_uri import ImageRef
from producer.store.deliveries import delivery_key
from producer.store.recovery import Recovery
from tests.support.jobs import job_of
from tests.support.patience import PATIENCE
from tests.support.runs import BULK, answer, feeder_of, feeding, plan_of, until

SOURCE = ImageRef(bucket="photos", key="a.jpg")
LATER = 3600
"""Seconds, more than the visibility timeout."""


def recovery_of(client: Client, *, seconds_later: float) -> Recovery:
    """Return the client's recovery with a clock that is ahead by some seconds."""
    return replace(client.sweep, clock=lambda: client._ledger.now() + seconds_later)


def recovered(client: Client, *, seconds_later: float = LATER) -> int:
    """Return the jobs that a recovery pass sends again, even if another process has the lease."""
    client.runs.server.delete("cutwork:sweep")
    return recovery_of(client, seconds_later=seconds_later).recover()


def test_a_lost_message_is_sent_again(idle: Client) -> None:
    handle, *_ = idle.submit_many([job_of(0), job_of(1)])
    server = idle.runs.server
    # Like a worker that dies before it stores the message as unacknowledged.
    lost: Any = server.rpop(f"{QUEUE}:3")
    assert handle.id in lost
    assert recovered(idle, seconds_later=0) == 0
    assert recovered(idle) == 1
    waiting: Any = server.lrange(f"{QUEUE}:3", 0, -1)
    assert sorted(handle.id in message for message in waiting) == [False, True]
    assert recovered(idle) == 0


def test_queued_unacknowledged_and_ended_jobs_are_not_sent_again(idle: Client) -> None:
    queued, unacknowledged, ended = idle.submit_many([job_of(number) for number in range(3)])
    server = idle.runs.server
    messages: Any = server.lrange(f"{QUEUE}:3", 0, -1)
    server.lrem(f"{QUEUE}:3", 1, messages[0])
    server.lrem(f"{QUEUE}:3", 1, messages[1])
    assert ended.id in messages[0]
    assert unacknowledged.id in messages[1]
    server.hset("unacked", "tag", f'[{messages[1]}, "", "{QUEUE}"]')
    idle._ledger.record_outcome(Outcome(job_id=ended.id, state="done"))
    assert recovered(idle) == 0
    assert server.llen(f"{QUEUE}:3") == 1
    assert queued.outcome() is None
    assert idle.pending() == 2


def test_only_one_process_recovers_at_a_time(idle: Client) -> None:
    idle.submit_many([job_of(0)])
    idle.runs.server.delete(f"{QUEUE}:3")
    recovery = recovery_of(idle, seconds_later=LATER)
    assert [recovery.recover() for _ in range(3)] == [1, 0, 0]


def test_an_unreadable_pending_job_is_skipped(idle: Client) -> None:
    handle, *_ = idle.submit_many([job_of(0), job_of(1)])
    server = idle.runs.server
    server.hset("cutwork:pending:jobs", handle.id, "{not JSON")
    server.zadd("cutwork:pending", {"nobody": 0})
    server.delete(f"{QUEUE}:3")
    assert recovered(idle) == 1
    scores: Any = server.zrange("cutwork:pending", 0, -1, withscores=True)
    assert min(score for _, score in scores) > time.time() - 60


def test_bytes_that_are_not_text_do_not_stop_the_recovery(idle: Client) -> None:
    handle, *_ = idle.submit_many([job_of(0)])
    server = idle.runs.server
    server.delete(f"{QUEUE}:3")
    raw: Any = server
    raw.zadd("cutwork:pending", {b"\xff\xfe": 0})
    raw.hset("cutwork:pending:jobs", b"\xff\xfe", b"\xff")
    raw.lpush(QUEUE, b"\x80")
    raw.hset("unacked", "strange", b"\xfe")
    assert recovered(idle) == 1
    assert handle.id in str(server.lrange(f"{QUEUE}:3", 0, -1))


@pytest.mark.parametrize("value", ["many", "9" * 30, "-5", "1e400"])
def test_an_invalid_count_is_replaced(idle: Client, value: str) -> None:
    server = idle.runs.server
    server.hset(delivery_key("strange"), "number", value)
    assert idle._ledger.deliveries.count_unfinished("strange") is not None
    assert idle._ledger.deliveries.count_delivery("strange", visibility_timeout=0).number == 1
    server.set(delivery_key("wrong"), "a text")
    assert idle._ledger.deliveries.count_unfinished("wrong") == 0
    assert idle._ledger.deliveries.count_delivery("wrong", visibility_timeout=0).number == 1


def test_an_outcome_deletes_the_count(idle: Client) -> None:
    deliveries = idle._ledger.deliveries
    deliveries.count_delivery("ended", visibility_timeout=0)
    idle._ledger.record_outcome(Outcome(job_id="ended", state="done"))
    deliveries.touch("ended", stage="store")
    deliveries.release("ended")
    assert not idle.runs.server.exists(delivery_key("ended"))


def test_jobs_of_a_run_without_a_feeder_are_sent_again(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of("send", "send"))
    with feeding(feeder):
        until(lambda: idle.runs.server.llen(BULK) == 2)
    idle.runs.server.rpop(BULK)
    assert recovered(idle) == 1
    assert len(answer(idle, 2)) == 2
    assert idle.runs.in_flight(str(feeder.run)) == 0


def test_deliveries_count_until_there_is_an_outcome(idle: Client) -> None:
    ledger = idle._ledger
    (handle,) = idle.submit_many([job_of(0)])

    def begin(timeout: float = 0) -> tuple[int, str | None]:
        delivery = ledger.deliveries.count_delivery(handle.id, visibility_timeout=timeout)
        return delivery.number, delivery.stage

    assert begin() == (1, None)
    assert begin(timeout=600) == (1, None)  # A copy, while the first delivery runs.
    ledger.deliveries.touch(handle.id, stage="decode")
    assert begin() == (2, "decode")
    ledger.deliveries.release(handle.id)
    assert begin(timeout=600) == (2, "decode")
    ledger.record_outcome(Outcome(job_id=handle.id, state="done"))
    assert not idle.runs.server.exists(delivery_key(handle.id), "cutwork:pending:jobs")
    assert begin() == (1, None)


def test_an_outcome_of_a_run_s_job_deletes_the_count(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of("send"))
    with feeding(feeder) as thread:
        until(lambda: idle.runs.server.llen(BULK) == 1)
        (name,) = idle.runs.jobs(str(feeder.run))
        idle._ledger.deliveries.count_delivery(name, visibility_timeout=600)
        assert idle.runs.server.exists(delivery_key(name))
        answer(idle, 1)
        thread.join(PATIENCE)
    assert not idle.runs.server.exists(delivery_key(name))
