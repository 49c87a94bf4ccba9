"""The latency that the queue adds, and the scaling of workers, with a model that sleeps."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.figure import Figure
from benchmarks.pictures import put_pictures
from benchmarks.servers import servers
from deploy.local import LocalStack
from producer import Client, Outcome

_SINGLES: Final = 100
_WORKERS: Final = (1, 2, 4, 8)
_SLEEP: Final = 0.25
_ROUNDS: Final = 3
_THREADS: Final = 3
"""Threads per worker, as with a real model: some fetch and store while one runs the model."""
_EACH: Final = 40
"""Images per worker and round."""


@contextmanager
def _site() -> Iterator[tuple[LocalStack, Path]]:
    with servers() as (stack, folder):
        put_pictures(stack.s3(), "photos", "", max(_SINGLES, _EACH * max(_WORKERS)))
        yield stack, folder


def _start(stack: LocalStack, folder: Path, *, seconds: float, threads: int = 1) -> None:
    worker = stack.start_worker(
        app="benchmarks.standin",
        concurrency=threads,
        CUTWORK_STANDIN="sleep",
        CUTWORK_STANDIN_SECONDS=str(seconds),
        CUTWORK_STANDIN_LOG=str(folder / "standin.log"),
    )
    stack.wait_for_worker(worker)


def _jobs(client: Client, count: int, name: str) -> Iterator[Outcome]:
    handles = [
        client.submit(f"s3://photos/{number:06d}.jpg", image=f"s3://cutouts/{name}/{number}.png")
        for number in range(count)
    ]
    for handle in handles:
        outcome = handle.wait(600)
        if outcome.state != "done":
            raise RuntimeError(f"{outcome.code}: {outcome.message}")
        yield outcome


def overhead() -> list[Figure]:
    """Measure single jobs in sequence, from submission to outcome, minus their processing time."""
    spent = []
    with _site() as (stack, folder), stack.client() as client:
        _start(stack, folder, seconds=0)
        list(_jobs(client, 10, "warm"))
        for number in range(_SINGLES):
            began = time.perf_counter()
            handle = client.submit(
                f"s3://photos/{number:06d}.jpg", image=f"s3://cutouts/single/{number}.png"
            )
            outcome = handle.wait(60)
            spent.append(time.perf_counter() - began - outcome.seconds["total"])
    return [
        Figure(
            what="queue overhead of one job, median",
            value=1000 * median(spent),
            unit="ms",
            at_most=15,
            how="submit to outcome, minus the pipeline's own time; "
            f"{_SINGLES} jobs one after the other",
            samples={"seconds": spent},
        )
    ]


def scaling() -> list[Figure]:
    """Measure images per second of a growing number of workers with a model that sleeps."""
    rates: dict[int, list[float]] = {}
    with _site() as (stack, folder), stack.client() as client:
        running = 0
        for workers in _WORKERS:
            for _ in range(workers - running):
                _start(stack, folder, seconds=_SLEEP, threads=_THREADS)
            running = workers
            rates[workers] = [_rate(client, workers, f"{workers}-{n}") for n in range(_ROUNDS)]
    middle = {workers: median(samples) for workers, samples in rates.items()}
    each = {workers: rate / workers / middle[1] for workers, rate in middle.items()}
    steps = ", ".join(f"{workers}: {rate:.1f}" for workers, rate in middle.items())
    return [
        Figure(
            what="1 → 2 → 4 → 8 workers ÷ linear, minimum",
            value=min(each.values()),
            at_least=0.95,
            how=f"images/s by workers: {steps}; 3 threads each, a model that "
            f"sleeps {_SLEEP:g} s, 64×64 JPEG",
            samples={f"{workers} workers, images/s": samples for workers, samples in rates.items()},
        )
    ]


def _rate(client: Client, workers: int, name: str) -> float:
    ended = sorted(outcome.finished_at for outcome in _jobs(client, workers * _EACH, name))
    # All workers are busy between the first outcomes and the last.
    edge = workers * _THREADS
    return (len(ended) - 2 * edge) / (ended[-edge - 1] - ended[edge - 1])
