"""What a fleet asks for in all: memory, operations, requests, hours, money; and what it needs."""

import math
from dataclasses import dataclass, replace

from benchmarks.fleet.parameters import Parameters
from benchmarks.fleet.simulation import Steady

_FULL = 0.7
"""How busy a station may be before its line grows."""


def advised(p: Parameters) -> Parameters:
    """The same GPUs with as much of all else as keeps them busy."""
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
    """What all images take at a steady rate."""

    steady: Steady

    @property
    def hours(self) -> float:
        """Until the last image."""
        return self.steady.parameters.images / self.steady.images_per_second / 3600

    @property
    def redis_operations(self) -> float:
        """Commands a second, of all brokers."""
        return self.steady.images_per_second * self.steady.parameters.commands

    @property
    def redis_bytes(self) -> float:
        """Of one broker: jobs in the window, those that workers have, and connections."""
        p = self.steady.parameters
        workers = p.gpus / p.brokers
        return (
            p.jobs_in_window * p.waiting_bytes
            + workers * p.threads * p.in_flight_bytes
            + workers * p.connections * p.connection_bytes
        )

    @property
    def requests_per_prefix(self) -> tuple[float, float]:
        """Reads and writes a second of one prefix."""
        p = self.steady.parameters
        rate = self.steady.images_per_second / p.prefixes
        return rate * p.reads, rate * p.writes

    @property
    def dollars(self) -> dict[str, float]:
        """By what they are paid for."""
        p = self.steady.parameters
        return {
            "GPUs": self.hours * p.gpus * p.gpu_price,
            "Redis": self.hours * p.brokers * p.broker_price,
            "S3 requests": p.images * (p.writes * p.put_price + p.reads * p.get_price),
        }
