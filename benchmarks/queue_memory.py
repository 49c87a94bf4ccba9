"""The speed of enqueueing, and the memory of Redis meanwhile."""

import statistics
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from benchmarks.table import Row
from deploy.local import LocalStack
from producer import Client, Job
from producer.contract.run import RunSpec
from producer.contract.s3_uri import ImageRef
from producer.sync.feeder import Feeder
from producer.sync.plan.step import Plan, Step

_MEGABYTE: Final = 1_000_000


def enqueueing(*, jobs: int = 20_000) -> list[Row]:
    """Feed jobs of a run into the embedded broker, then single jobs with `Client.submit_many`."""
    with _Broker() as stack, stack.client() as client:
        rates = []
        for _ in range(3):
            feeder = _feeder(client, jobs, window=10 * jobs)
            started = time.monotonic()
            with ThreadPoolExecutor(1) as threads:
                feeding = threads.submit(feeder.feed)
                while client.status().waiting < jobs:
                    time.sleep(0.01)
                rates.append(jobs / (time.monotonic() - started))
                feeder.stopping.set()
                feeding.result()
            client.runs.end(str(feeder.run), "cancelled")
            client.runs.server.flushall()
        rate = statistics.median(rates)
        some = [_job(number) for number in range(jobs // 10)]
        started = time.monotonic()
        client.submit_many(some)
        single = len(some) / (time.monotonic() - started)
    return [
        Row(
            f"enqueue {jobs:,} jobs of a run", f"{rate:,.0f} jobs/s", "≥ 2,500 jobs/s", rate >= 2500
        ),
        Row(
            "for comparison, Client.submit_many",
            f"{single:,.0f} jobs/s",
            "≥ 2,500 jobs/s",
            single >= 2500,
        ),
    ]


def flat_memory(*, jobs: int = 100_000, window: int = 2000) -> list[Row]:
    """Feed empty jobs through a small window and record the memory of Redis."""
    with _Broker() as stack, stack.client() as client:
        for _ in range(2):
            worker = stack.start_worker(
                app="benchmarks.standin", concurrency=4, CUTWORK_STANDIN="empty"
            )
            stack.wait_for_worker(worker)
        feeder = _feeder(client, jobs, window=window)
        used: list[int] = []
        started = time.monotonic()
        with ThreadPoolExecutor(1) as threads:
            feeding = threads.submit(feeder.feed)
            while not feeding.done():
                time.sleep(0.25)
                if feeder.run and client.runs.summary(feeder.run).counts.done >= 1000:
                    used.append(client.runs.server.info("memory")["used_memory"])
            feeding.result()
        spent = time.monotonic() - started
        done = client.runs.summary(str(feeder.run)).counts.done
    middle = (max(used) + min(used)) / 2
    around = (max(used) - min(used)) / 2
    return [
        Row(
            f"{done:,} empty jobs, window {window:,}, {done / spent:,.0f} jobs/s: Redis memory",
            f"{middle / _MEGABYTE:.1f} ± {around / _MEGABYTE:.1f} MB",
            "± 5 MB",
            around <= 5 * _MEGABYTE and done == jobs,
        )
    ]


class _Broker:
    """Start a broker without an S3 server."""

    def __enter__(self) -> LocalStack:
        self._folder = tempfile.TemporaryDirectory(prefix="cutwork-bench-")
        self._stack = LocalStack(Path(self._folder.name)).__enter__()
        self._stack.start_broker()
        self._stack.s3_url = "http://127.0.0.1:9"  # Nothing asks it.
        return self._stack

    def __exit__(self, *error: object) -> None:
        self._stack.stop(grace=5)
        self._folder.cleanup()


def _feeder(client: Client, jobs: int, *, window: int) -> Feeder:
    return Feeder(
        spec=RunSpec(source="s3://photos/in/", image="s3://cutouts/out/"),
        plan=_plan(jobs),
        app=client.app,
        ledger=client.runs,
        window=window,
        command="",
    )


def _plan(jobs: int) -> Plan:
    def plan(cursor: str) -> Generator[Step, None, None]:
        for number in range(int(cursor or -1) + 1, jobs):
            job = _job(number)
            yield Step(
                cursor=str(number),
                verdict="send",
                reason="missing",
                source=job.source,
                etag="x",
                image=job.image,
            )

    return plan


def _job(number: int) -> Job:
    return Job(
        source=ImageRef(bucket="photos", key=f"in/{number:08d}.jpg"),
        image=ImageRef(bucket="cutouts", key=f"out/{number:08d}.png"),
    )
