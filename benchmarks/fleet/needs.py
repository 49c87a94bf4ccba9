"""The total needs of a fleet: memory, operations, requests, hours and costs."""

import math
from dataclasses import dataclass, replace

from benchmarks.fleet.parameters import Parameters
from benchmarks.fleet.simulation import Steady

_FULL = 0.7
"""The largest utilisation of a station at which its queue stays short."""


def advised(p: Parameters) -> Parameters:
    """Return the fleet with enough of everything else to keep its GPUs busy."""
    rate = p.gpus * p.gpu_images
    broker_seconds = p.submit_seconds + p.work_seconds + p.idle_seconds / p.gpu_images
    brokers = max(
        rate * broker_seconds / _FULL,
        rate / p.feed_rate / _FULL,
        p.gpus * p.connections / p.clients_limit / _FULL,
    )
    prefixes = rate * max(p.reads / p.read_limit, p.writes / p.write_limit) / _FULL
    away = p.reads * p.read_latency + p.writes * p.write_latency + 2 * p.host_seconds
    return replace(
        p,
        brokers=math.ceil(brokers),
        prefixes=math.ceil(prefixes),
        cores=math.ceil(p.gpu_images * p.host_seconds / _FULL),
        threads=math.ceil(2 * p.gpu_images * away) + 2,
    )


@dataclass(frozen=True)
class Bill:
    """The needs of all images at a steady rate."""

    steady: Steady

    @property
    def hours(self) -> float:
        """Hours until the last image."""
        return self.steady.parameters.images / self.steady.images_per_second / 3600

    @property
    def redis_operations(self) -> float:
        """Commands per second of all brokers."""
        return self.steady.images_per_second * self.steady.parameters.commands

    @property
    def redis_bytes(self) -> float:
        """Memory of one broker: jobs in the window, running jobs and connections."""
        p = self.steady.parameters
        workers = p.gpus / p.brokers
        return (
            p.jobs_in_window * p.waiting_bytes
            + workers * p.threads * p.in_flight_bytes
            + workers * p.connections * p.connection_bytes
        )

    @property
    def requests_per_prefix(self) -> tuple[float, float]:
        """Reads and writes per second of one prefix."""
        p = self.steady.parameters
        rate = self.steady.images_per_second / p.prefixes
        return rate * p.reads, rate * p.writes

    @property
    def dollars(self) -> dict[str, float]:
        """Costs by cause."""
        p = self.steady.parameters
        return {
            "GPUs": self.hours * p.gpus * p.gpu_price,
            "Redis": self.hours * p.brokers * p.broker_price,
            "S3 requests": p.images * (p.writes * p.put_price + p.reads * p.get_price),
        }
