"""`python -m benchmarks.job_cost`: the requests and resources of a job in Redis and S3.

The jobs of a run are fed before any worker starts, and then processed; the commands of idle workers
are counted separately. The figures go to `bench-out/job.json`; `benchmarks.fleet` uses those in
`benchmarks/results/`.
"""

import json
import time
from collections import Counter
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import redis

from benchmarks.machine import machine
from benchmarks.pictures import put_pictures
from benchmarks.servers import servers
from deploy.child import Child
from deploy.local import LocalStack
from producer import Client
from producer.contract.run import RunSpec
from producer.contract.s3_uri import ImageRef
from producer.sync.feeder import Feeder
from producer.sync.plan.step import Plan, Step

OUT: Final = Path("bench-out")
_BULK: Final = "cutwork.default:6"


@dataclass(frozen=True)
class JobCost:
    """The measured costs."""

    jobs: int
    commands: dict[str, float]
    """Redis commands per job by name, from feeding to outcome."""
    submit_seconds: float
    """Redis' processor seconds to accept a job."""
    work_seconds: float
    """Redis' processor seconds from a job's delivery to its outcome."""
    kernel_share: float
    """The share of both in the kernel, which falls when Redis answers several commands per call."""
    idle_commands: float
    """Redis commands per second of an idle worker."""
    idle_seconds: float
    """Redis' processor seconds per second for an idle worker."""
    connections: float
    """Redis connections of a worker with `threads` busy threads."""
    threads: int
    connection_bytes: float
    waiting_bytes: float
    """Redis memory of a queued job of a run."""
    in_flight_bytes: float
    """Redis memory of a job that a worker runs."""
    outcome_bytes: float
    """Redis memory of a single job's outcome, until `CUTWORK_OUTCOME_TTL` is over."""
    network_bytes: float
    """Network bytes per job to and from Redis."""
    s3: dict[str, float]
    """S3 requests per job by name."""


@dataclass(frozen=True)
class _Snapshot:
    calls: Counter[str]
    user: float
    kernel: float
    network: int
    at: float

    @classmethod
    def of(cls, server: redis.Redis) -> "_Snapshot":
        commands: Any = server.info("commandstats")
        facts: Any = server.info("cpu") | server.info("stats")
        return cls(
            Counter(
                {key.removeprefix("cmdstat_"): value["calls"] for key, value in commands.items()}
            ),
            # The main thread, which runs all commands.
            facts["used_cpu_user_main_thread"],
            facts["used_cpu_sys_main_thread"],
            facts["total_net_input_bytes"] + facts["total_net_output_bytes"],
            time.monotonic(),
        )

    @property
    def seconds(self) -> float:
        return self.user + self.kernel

    def __sub__(self, other: "_Snapshot") -> "_Snapshot":
        return _Snapshot(
            self.calls - other.calls,
            self.user - other.user,
            self.kernel - other.kernel,
            self.network - other.network,
            self.at - other.at,
        )


def measure(*, jobs: int = 2000, workers: int = 2, threads: int = 8, idle: float = 30) -> JobCost:
    """Measure everything once; idle workers are observed for `idle` seconds."""
    with servers() as (stack, folder), stack.client() as client:
        server: Any = client.runs.server
        log = folder / "requests.log"
        log.touch()
        put_pictures(stack.s3(), "photos", "in/", jobs)
        in_flight = _measure_in_flight(stack, client, folder, threads=threads)
        server.flushdb()
        feeder = _feeder(client, jobs)
        start = _Snapshot.of(server)
        with ThreadPoolExecutor(1) as executor:
            feeding = executor.submit(feeder.feed)
            while server.llen(_BULK) < jobs:
                time.sleep(0.1)
            fed = _Snapshot.of(server)
            waiting = server.memory_usage(_BULK, samples=0) + server.memory_usage(
                f"cutwork:run:{feeder.run}:jobs", samples=0
            )
            for _ in range(workers):
                _start(stack, log, threads=threads, seconds=0.0)
            feeding.result()
        done = _Snapshot.of(server)
        time.sleep(2)
        before = _Snapshot.of(server)
        time.sleep(idle)
        resting = _Snapshot.of(server) - before
        rest = resting.seconds / resting.at
        lines = Counter(log.read_text().split())
        counts = client.runs.summary(str(feeder.run)).counts
        if counts.done != jobs:
            raise RuntimeError(f"expected {jobs} images done, found {counts}")
    taken, worked = fed - start, done - fed
    return JobCost(
        jobs=jobs,
        commands={
            name: round(calls / jobs, 3)
            for name, calls in (taken.calls + worked.calls).most_common()
            if calls >= jobs / 100
        },
        submit_seconds=taken.seconds / jobs,
        work_seconds=(worked.seconds - rest * worked.at) / jobs,
        kernel_share=(taken.kernel + worked.kernel) / (taken.seconds + worked.seconds),
        idle_commands=resting.calls.total() / resting.at / workers,
        idle_seconds=rest / workers,
        waiting_bytes=waiting / jobs,
        network_bytes=(taken.network + worked.network) / jobs,
        s3={name: round(count / jobs, 3) for name, count in lines.most_common()},
        threads=threads,
        **in_flight,
    )


def _measure_in_flight(
    stack: LocalStack, client: Client, folder: Path, *, threads: int
) -> Mapping[str, Any]:
    """Measure the Redis memory of running jobs and of the worker's connections."""
    server: Any = client.runs.server
    own = len(server.client_list())
    worker = _start(stack, folder / "other.log", threads=threads, seconds=5)
    handles = [
        client.submit(f"s3://photos/in/{number:06d}.jpg", image=f"s3://cutouts/held/{number}.png")
        for number in range(threads)
    ]
    while server.hlen("unacked") < threads or not all(
        server.exists(f"cutwork:delivery:{handle.id}") for handle in handles
    ):
        time.sleep(0.05)
    names = ["unacked", "unacked_index", *(f"cutwork:delivery:{handle.id}" for handle in handles)]
    in_flight = sum(server.memory_usage(name, samples=0) for name in names)
    for handle in handles:
        handle.wait(60)
    clients = server.client_list()
    outcome = server.memory_usage(f"cutwork:outcome:{handles[0].id}", samples=0)
    worker.stop(grace=10)
    return {
        "connections": len(clients) - own,
        "connection_bytes": sum(int(each["tot-mem"]) for each in clients) / len(clients),
        "in_flight_bytes": in_flight / threads,
        "outcome_bytes": outcome,
    }


def _start(stack: LocalStack, log: Path, *, threads: int, seconds: float) -> Child:
    worker = stack.start_worker(
        app="benchmarks.counted_s3",
        concurrency=threads,
        CUTWORK_STANDIN="sleep",
        CUTWORK_STANDIN_SECONDS=str(seconds),
        CUTWORK_STANDIN_LOG="/dev/null",
        CUTWORK_S3_LOG=str(log),
    )
    stack.wait_for_worker(worker)
    return worker


def _feeder(client: Client, jobs: int) -> Feeder:
    def plan(cursor: str) -> Generator[Step, None, None]:
        for number in range(int(cursor or -1) + 1, jobs):
            yield Step(
                cursor=str(number),
                verdict="send",
                reason="missing",
                source=ImageRef(bucket="photos", key=f"in/{number:06d}.jpg"),
                etag="x",
                image=ImageRef(bucket="cutouts", key=f"out/{number:06d}.png"),
                mask=ImageRef(bucket="cutouts", key=f"masks/{number:06d}.png"),
            )

    listing: Plan = plan
    return Feeder(
        spec=RunSpec(source="s3://photos/in/", image="s3://cutouts/out/"),
        plan=listing,
        app=client.app,
        ledger=client.runs,
        window=2 * jobs,
        command="",
    )


def main() -> None:
    """Measure, print the figures and write them to the file."""
    cost = asdict(measure())
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python -m benchmarks.job_cost",
        "machine": machine(),
        "job": cost,
    }
    OUT.mkdir(exist_ok=True)
    text = json.dumps(report, indent=1, ensure_ascii=False)
    (OUT / "job.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
