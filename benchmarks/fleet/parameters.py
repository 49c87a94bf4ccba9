"""The parameters of the simulation and their sources."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

RESULTS: Final = Path(__file__).parents[1] / "results"
_JOB: Final = RESULTS / "2026-11-23-job.json"
_HOST: Final = RESULTS / "2026-11-23-host.json"

Source = Literal["measured", "documented", "assumed", "chosen"]
MEASURED_JOB: Final = "`python -m benchmarks.job_cost`"
MEASURED_HOST: Final = "`python -m benchmarks.host_cost`, 6 MP"
AWS_LIMITS: Final = "AWS: Best practices design patterns, optimizing Amazon S3 performance"


def _number(default: float, unit: str, source: Source, why: str) -> float:
    number: float = field(default=default, metadata={"unit": unit, "source": source, "why": why})
    return number


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """A fleet. Change parameters with `python -m benchmarks.fleet gpu_images=40 …`."""

    gpus: float = _number(1000, "", "chosen", "one worker process each")
    images: float = _number(100e6, "", "chosen", "in one run or several")
    gpu_images: float = _number(
        25, "images/s", "assumed", "of one GPU; none was available: 10 and 60 are simulated too"
    )
    threads: float = _number(24, "", "chosen", "`CUTWORK_CONCURRENCY`")
    cores: float = _number(10, "", "chosen", "per GPU")
    brokers: float = _number(1, "", "chosen", "Redis instances, each with its own workers")
    prefixes: float = _number(1, "", "chosen", "each with inputs, cut-outs and masks")

    submit_seconds: float = _number(0, "s", "measured", MEASURED_JOB)
    work_seconds: float = _number(0, "s", "measured", MEASURED_JOB)
    idle_seconds: float = _number(0, "s/s", "measured", f"{MEASURED_JOB}, per worker")
    commands: float = _number(0, "per job", "measured", MEASURED_JOB)
    network_bytes: float = _number(0, "bytes", "measured", MEASURED_JOB)
    waiting_bytes: float = _number(0, "bytes", "measured", MEASURED_JOB)
    in_flight_bytes: float = _number(0, "bytes", "measured", MEASURED_JOB)
    connections: float = _number(0, "per worker", "measured", f"{MEASURED_JOB}, 8 threads")
    connection_bytes: float = _number(0, "bytes", "measured", MEASURED_JOB)
    reads: float = _number(0, "per job", "measured", f"GET and HEAD, {MEASURED_JOB}")
    writes: float = _number(0, "per job", "measured", f"PUT, {MEASURED_JOB}")
    host_seconds: float = _number(0, "core s", "measured", MEASURED_HOST)
    feed_rate: float = _number(
        3300, "jobs/s", "measured", "`make bench-sync`, one `cutwork sync`; one per broker"
    )
    window: float = _number(64_000, "jobs", "documented", "the largest window of a run")

    read_limit: float = _number(5500, "1/s", "documented", f"per prefix, {AWS_LIMITS}")
    write_limit: float = _number(3500, "1/s", "documented", f"per prefix, {AWS_LIMITS}")
    read_latency: float = _number(0.04, "s", "assumed", "mean per request, exponential")
    write_latency: float = _number(0.08, "s", "assumed", "mean per request, exponential")
    clients_limit: float = _number(10_000, "", "documented", "Redis' `maxclients` by default")

    gpu_price: float = _number(0.35, "$/h", "assumed", "a spot machine with one small GPU")
    broker_price: float = _number(0.25, "$/h", "assumed", "8 GB of Redis")
    put_price: float = _number(5e-6, "$", "assumed", "per PUT, list price of a large region")
    get_price: float = _number(4e-7, "$", "assumed", "per GET or HEAD, the same region")

    @property
    def jobs_in_window(self) -> float:
        """Jobs in flight at one broker, at most the largest window of `cutwork sync`."""
        threads = self.gpus * self.threads / self.brokers
        return min(self.window, max(2000, 2 * threads))

    @classmethod
    def measured(cls, **changed: float) -> "Parameters":
        """Return the fleet of the stored measurements with the given changes."""
        job = json.loads(_JOB.read_text())["job"]
        host = json.loads(_HOST.read_text())
        reads = sum(job["s3"].get(name, 0) for name in ("GetObject", "HeadObject"))
        names = ("submit_seconds", "work_seconds", "idle_seconds", "network_bytes")
        sizes = ("waiting_bytes", "in_flight_bytes", "connections", "connection_bytes")
        values = {name: float(job[name]) for name in (*names, *sizes)} | {
            "commands": sum(job["commands"].values()),
            "reads": reads,
            "writes": sum(job["s3"].values()) - reads,
            "host_seconds": host["seconds"]["6"],
        }
        return cls(**(values | changed))
