"""A trial: a burst of jobs for an empty pool, until the pool is empty again."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.pictures import put_pictures
from benchmarks.scale.exporter import Exporter
from benchmarks.scale.pool import Hazard, Pool
from benchmarks.scale.scaler import Policy, Scaler, Signals
from benchmarks.servers import servers
from deploy.child import Child
from deploy.local import LocalStack
from producer import Client, Job, Outcome
from producer.client import Handle
from producer.contract.s3_uri import ImageRef

_PICTURES: Final = 50
_THREADS: Final = 3
_TICK_SECONDS: Final = 0.5
_QUIET_SECONDS: Final = 3.0
"""Seconds of observation before the burst and after the end: an empty pool must stay empty."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The settings of a trial."""

    jobs: int
    image_seconds: float
    """Seconds that the stand-in sleeps per image; a worker runs one at a time."""
    policy: Policy
    hazard: Hazard
    visibility_timeout: int
    deadline: float
    """Seconds after which the trial has failed."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The state at one moment."""

    at: float
    """Unix time."""
    signals: Signals | None
    wanted: int
    ready: int


@dataclass(kw_only=True)
class Result:
    """The result of a trial."""

    setting: Setting
    burst_at: float = 0
    samples: list[Sample] = field(default_factory=list)
    preempted: list[float] = field(default_factory=list)
    killed: int = 0
    machine_seconds: float = 0
    outcomes: list[Outcome] = field(default_factory=list)
    outputs: int = 0
    """The number of requested cut-outs that exist."""
    model_runs: int = 0

    @property
    def done(self) -> list[float]:
        """The times at which images were finished, in order."""
        return sorted(outcome.finished_at for outcome in self.outcomes if outcome.ok)

    @property
    def lost(self) -> int:
        """The number of jobs without a successful outcome or without their output."""
        return self.setting.jobs - min(len(self.done), self.outputs)


def run_trial(setting: Setting) -> Result:
    """Run a trial on a broker and an S3 server of its own."""
    result = Result(setting=setting)
    with servers() as (stack, folder), stack.client() as client:
        put_pictures(stack.s3(), "photos", "", _PICTURES)
        log = folder / "standin.log"
        log.touch()
        pool = Pool(start=lambda: _worker(stack, setting, log), hazard=setting.hazard)
        with _exporter(stack, folder) as exporter:
            _play(result, client, pool, exporter)
        result.preempted, result.killed = pool.preempted, pool.killed
        result.machine_seconds = pool.seconds
        result.outputs = len(_names(stack) & {f"{number}.png" for number in range(setting.jobs)})
        result.model_runs = log.stat().st_size
    return result


def _play(result: Result, client: Client, pool: Pool, exporter: Exporter) -> None:
    """Observe the empty pool, send the burst and observe until the pool is empty again."""
    setting, started = result.setting, time.monotonic()
    scaler, quiet_since = Scaler(setting.policy), started
    burst: Future[list[Handle]] | None = None
    with ThreadPoolExecutor(1) as sender:
        while time.monotonic() - started < setting.deadline:
            now, signals = time.monotonic(), exporter.signals()
            wanted = scaler.wanted(signals, current=pool.size, now=now)
            pool.update(wanted=wanted)
            sample = Sample(at=time.time(), signals=signals, wanted=wanted, ready=pool.ready)
            result.samples.append(sample)
            sending = burst is not None and not burst.done()
            if sending or not pool.empty or signals is None or signals.active:
                quiet_since = now
            elif now - quiet_since > _QUIET_SECONDS:
                if burst is not None:
                    break
                result.burst_at, quiet_since = time.time(), now
                burst = sender.submit(client.submit_many, _jobs(setting.jobs))
            time.sleep(_TICK_SECONDS)
    handles = burst.result() if burst else []
    outcomes = [handle.outcome() for handle in handles]
    result.outcomes = [outcome for outcome in outcomes if outcome is not None]


def _jobs(count: int) -> Iterator[Job]:
    for number in range(count):
        yield Job(
            source=ImageRef(bucket="photos", key=f"{number % _PICTURES:06d}.jpg"),
            image=ImageRef(bucket="cutouts", key=f"{number}.png"),
        )


def _worker(stack: LocalStack, setting: Setting, log: Path) -> Child:
    return stack.start_worker(
        app="benchmarks.standin",
        concurrency=_THREADS,
        CUTWORK_STANDIN="sleep",
        CUTWORK_STANDIN_SECONDS=str(setting.image_seconds),
        CUTWORK_STANDIN_LOG=str(log),
        CUTWORK_VISIBILITY_TIMEOUT=str(setting.visibility_timeout),
    )


@contextmanager
def _exporter(stack: LocalStack, folder: Path) -> Iterator[Exporter]:
    exporter = Exporter.started(stack, folder / "exporter.log")
    try:
        yield exporter
    finally:
        exporter.stop()


def _names(stack: LocalStack) -> set[str]:
    pages = stack.s3().get_paginator("list_objects_v2").paginate(Bucket="cutouts")
    return {item["Key"] for page in pages for item in page.get("Contents", [])}
