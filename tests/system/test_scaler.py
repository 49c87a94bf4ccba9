"""A pool scales from zero and back: the number of workers, and no job is lost."""

import itertools
import math

from benchmarks.scale.pool import Hazard
from benchmarks.scale.rows import rows
from benchmarks.scale.scaler import Policy, Scaler, Signals
from benchmarks.scale.trial import Setting, run_trial
from tests.support.patience import PATIENCE

POLICY = Policy(target=30, stabilisation=20, cooldown=10, max_workers=8)
NOTHING = Signals(waiting=0, in_flight=0, backlog_seconds=0, pending=0, rate=1)


def backlog(seconds: float) -> Signals:
    return NOTHING._replace(waiting=math.ceil(seconds), backlog_seconds=seconds)


def test_a_pool_starts_with_one_worker_and_grows_to_its_limit() -> None:
    scaler = Scaler(POLICY)
    assert scaler.wanted(NOTHING, current=0, now=0) == 0
    assert scaler.wanted(backlog(100), current=0, now=1) == 1
    assert scaler.wanted(backlog(100), current=1, now=2) == 4
    assert scaler.wanted(backlog(1e6), current=4, now=3) == 8


def test_a_pool_shrinks_to_the_largest_number_wanted_recently() -> None:
    scaler = Scaler(POLICY)
    for now, seconds in enumerate((240, 120, 60, 60)):
        assert scaler.wanted(backlog(seconds), current=8, now=now) == 8
    assert scaler.wanted(backlog(60), current=8, now=20.5) == 4
    assert scaler.wanted(backlog(60), current=4, now=30) == 2


def test_the_last_worker_stops_after_the_cooldown() -> None:
    scaler = Scaler(POLICY)
    assert scaler.wanted(backlog(1), current=1, now=0) == 1
    assert scaler.wanted(NOTHING, current=1, now=9) == 1
    assert scaler.wanted(NOTHING, current=1, now=10) == 0


def test_unacknowledged_and_pending_jobs_keep_one_worker() -> None:
    scaler = Scaler(POLICY)
    for signals in (NOTHING._replace(in_flight=1), NOTHING._replace(pending=1)):
        assert scaler.wanted(signals, current=0, now=0) == 1
        assert scaler.wanted(signals, current=1, now=1000) == 1


def test_without_signals_nothing_changes() -> None:
    scaler = Scaler(POLICY)
    assert scaler.wanted(backlog(1), current=1, now=0) == 1
    assert scaler.wanted(None, current=0, now=1000) == 0
    assert scaler.wanted(None, current=3, now=1000) == 3


def test_a_pre_empted_machine_loses_no_job() -> None:
    """The pool has up to two workers; the first is pre-empted two seconds after its start."""
    setting = Setting(
        jobs=60,
        image_seconds=0.2,
        policy=Policy(target=4, stabilisation=2, cooldown=2, max_workers=2),
        hazard=Hazard(
            lifetimes=itertools.chain([2.0], itertools.repeat(math.inf)),
            notices=itertools.repeat(0.1),
        ),
        visibility_timeout=2,
        deadline=PATIENCE,
    )
    result = run_trial(setting)
    assert [row for row in rows(result) if row.ok is False] == []
    assert (len(result.preempted), result.killed) == (1, 1)
