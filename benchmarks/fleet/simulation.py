"""A discrete-event simulation of the fleet as a queueing network.

A feeder sends a job to a broker's queue. A free thread of a worker takes it, fetches, decodes, runs
the worker's GPU, encodes, stores and records the outcome; then the feeder sends another job. Every
station serves in order at its measured speed: a broker has one thread, an S3 prefix one request
rate, a GPU runs one image at a time, a host has its cores. S3 adds a latency in parallel.

Not simulated: batches on a GPU (its rate includes them), retries, pre-emption, network bandwidth.
"""

import heapq
import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final

import simpy

from benchmarks.fleet.parameters import Parameters

_BATCH: Final = 500
"""Jobs per batch of a feeder."""
Process = Generator[simpy.Event, Any, None]


class Station:
    """Several servers with one FIFO queue.

    The end of a visit is known when it begins, so a visit is a single event.
    """

    def __init__(self, world: simpy.Environment, *, servers: int = 1) -> None:
        self._world = world
        self._free = [0.0] * servers
        self.busy = 0.0
        """Seconds of work done or begun since the last measurement."""

    def serve(self, seconds: float) -> simpy.Timeout:
        """Return an event at the end of this much work."""
        begin = max(self._world.now, heapq.heappop(self._free))
        heapq.heappush(self._free, begin + seconds)
        self.busy += seconds
        return self._world.timeout(begin + seconds - self._world.now)


@dataclass(frozen=True)
class Steady:
    """The steady state of a fleet."""

    parameters: Parameters
    images_per_second: float
    load: dict[str, float]
    """The utilisation of each kind of station, 0 to 1, feeders included."""

    @property
    def bottleneck(self) -> str:
        """The busiest kind of station."""
        return max(self.load, key=lambda name: self.load[name])


class _Fleet:
    def __init__(self, parameters: Parameters, seed: int) -> None:
        self.p = p = parameters
        self.world = world = simpy.Environment()
        self.random = random.Random(seed)
        brokers, prefixes = int(p.brokers), int(p.prefixes)
        self.brokers = [Station(world) for _ in range(brokers)]
        self.feeders = [Station(world) for _ in range(brokers)]
        self.reads = [Station(world) for _ in range(prefixes)]
        self.writes = [Station(world) for _ in range(prefixes)]
        self.gpus = [Station(world) for _ in range(int(p.gpus))]
        self.hosts = [Station(world, servers=int(p.cores)) for _ in range(int(p.gpus))]
        self.queues = [simpy.Container(world) for _ in range(brokers)]
        self.windows = [simpy.Container(world, init=p.jobs_in_window) for _ in range(brokers)]
        self.done = 0
        for number in range(brokers):
            world.process(self._feed(number))
        for gpu in range(int(p.gpus)):
            for _ in range(int(p.threads)):
                world.process(self._work(gpu))

    def run_rounds(self, times: int) -> None:
        """Run until every job in flight has been replaced this many times."""
        enough = self.done + times * self.p.brokers * self.p.jobs_in_window
        while self.done < enough:
            self.world.step()

    def _feed(self, number: int) -> Process:
        while True:
            yield self.windows[number].get(_BATCH)
            yield self.feeders[number].serve(_BATCH / self.p.feed_rate)
            yield self.brokers[number].serve(_BATCH * self.p.submit_seconds)
            yield self.queues[number].put(_BATCH)

    def _work(self, gpu: int) -> Process:
        p, broker = self.p, gpu % len(self.brokers)
        while True:
            yield self.queues[broker].get(1)
            yield self.brokers[broker].serve(p.work_seconds / 2)
            prefix = self.random.randrange(len(self.reads))
            yield self.reads[prefix].serve(p.reads / p.read_limit)
            yield self.world.timeout(self._latency(p.reads, p.read_latency))
            yield self.hosts[gpu].serve(p.host_seconds / 2)
            yield self.gpus[gpu].serve(1 / p.gpu_images)
            yield self.hosts[gpu].serve(p.host_seconds / 2)
            yield self.writes[prefix].serve(p.writes / p.write_limit)
            yield self.world.timeout(self._latency(p.writes, p.write_latency))
            yield self.brokers[broker].serve(p.work_seconds / 2)
            self.done += 1
            yield self.windows[broker].put(1)

    def _latency(self, requests: float, mean: float) -> float:
        return sum(self.random.expovariate(1 / mean) for _ in range(round(requests)))

    def stations(self) -> dict[str, list[Station]]:
        """Return the stations by name."""
        return {
            "Redis": self.brokers,
            "cutwork sync": self.feeders,
            "S3 reads": self.reads,
            "S3 writes": self.writes,
            "GPU": self.gpus,
            "host cores": self.hosts,
        }


def simulate(parameters: Parameters, *, seed: int = 1) -> Steady:
    """Simulate two rounds of all jobs in flight, then measure the third."""
    fleet = _Fleet(parameters, seed)
    fleet.run_rounds(2)
    for stations in fleet.stations().values():
        for station in stations:
            station.busy = 0
    begun, done = fleet.world.now, fleet.done
    fleet.run_rounds(1)
    seconds = fleet.world.now - begun
    servers = {"host cores": parameters.cores}
    load = {
        name: min(
            1, sum(each.busy for each in stations) / len(stations) / seconds / servers.get(name, 1)
        )
        for name, stations in fleet.stations().items()
    }
    # Idle workers add requests of their own.
    resting = parameters.idle_seconds * parameters.gpus / parameters.brokers
    load["Redis"] = min(1, load["Redis"] + resting * (1 - load["GPU"]))
    return Steady(parameters, (fleet.done - done) / seconds, load)
