"""One process feeds a run; another one resumes it when the first has ended."""

import math
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from producer import Client
from producer.store.runs import feeder_key
from producer.sync.feeder_lock import FeederLock, FeederRunning
from producer.sync.plan.step import Step
from tests.support.patience import PATIENCE
from tests.support.runs import answer, feeder_of, feeding, plan_of, until, waiting


def test_a_run_has_one_feeder(idle: Client) -> None:
    plan = plan_of(*["send"] * 3)
    feeder = feeder_of(idle, plan)
    with feeding(feeder):
        until(lambda: len(waiting(idle)) == 3)
        server, key = idle.runs.server, feeder_key(str(feeder.run))
        server.set(key, "another-machine/1/abc", ex=15)
        with pytest.raises(FeederRunning, match="another-machine"):
            feeder_of(idle, plan, run=feeder.run).feed()
        server.set(key, f"{os.uname().nodename}/{2**22 + 1}/abc", ex=15)  # no such process
    again = feeder_of(idle, plan, run=feeder.run)
    with feeding(again) as thread:
        assert len(answer(idle, 3)) == 3
        thread.join(PATIENCE)
    assert idle.runs.summary(str(feeder.run)).state == "finished"


def test_a_lock_that_redis_lost_is_acquired_again_with_the_same_token(idle: Client) -> None:
    feeder = feeder_of(idle, plan_of("send"))
    with feeding(feeder):
        until(lambda: waiting(idle))
        key = feeder_key(str(feeder.run))
        name: Any = idle.runs.server.getdel(key)
        assert feeder._lock
        feeder._lock._extended = -math.inf
        until(lambda: idle.runs.server.get(key))
        assert idle.runs.server.get(key) == name
        assert idle.runs.feeder_host(str(feeder.run)) == os.uname().nodename
    assert idle.runs.feeder_host(str(feeder.run)) is None


def test_a_suspended_process_does_not_send_the_jobs_of_another(idle: Client) -> None:
    plan = plan_of("send", "send")

    def sleeping(cursor: str) -> Generator[Step, None, None]:
        for step in plan(cursor):
            if step.cursor == "1":  # Meanwhile the lock expired, and another process acquired it.
                idle.runs.server.set(feeder_key(str(feeder.run)), "another-machine/1/abc")
            yield step

    feeder = feeder_of(idle, sleeping, window=1)
    with ThreadPoolExecutor(1) as threads:
        fed = threads.submit(feeder.feed)
        until(lambda: answer(idle, 1))
        with pytest.raises(FeederRunning, match="now fed by another"):
            fed.result(PATIENCE)
    assert idle.runs.summary(str(feeder.run)).counts.sent == 2
    assert waiting(idle) == []


@pytest.mark.parametrize("number", ["0", str(10**30), "9" * 5000, "4194305"])
def test_a_number_that_is_no_process_does_not_hold_the_run(idle: Client, number: str) -> None:
    server = idle.runs.server
    server.set(feeder_key("forged"), f"{os.uname().nodename}/{number}/x")
    FeederLock(server, "forged").release()
    assert not server.exists(feeder_key("forged"))


@pytest.mark.parametrize("seconds", [None, 10**6])
@pytest.mark.parametrize("kind", ["text", "list"])
def test_a_lock_that_no_feeder_wrote_expires(idle: Client, kind: str, seconds: int | None) -> None:
    server, key = idle.runs.server, feeder_key("forged")
    if kind == "text":
        server.set(key, "another-machine/1/x")
    else:
        server.rpush(key, "item")
    if seconds:
        server.expire(key, seconds)
    with pytest.raises(FeederRunning):
        FeederLock(server, "forged")
    left: Any = server.ttl(key)
    assert 0 < left <= 15
    server.delete(key)
