"""The stages of a worker's start, as logged by the worker."""

import re
import time
from statistics import median
from typing import Final

from benchmarks.figure import Figure
from benchmarks.servers import servers
from benchmarks.throughput import MODEL

_ROUNDS: Final = 3
_PART: Final = re.compile(r"(\w+) (\d+\.\d+) s")


def start() -> list[Figure]:
    """Measure the seconds from a worker's start until it takes messages, with the model loaded."""
    ready: list[float] = []
    parts: dict[str, list[float]] = {}
    for _ in range(_ROUNDS):
        with servers() as (stack, _):
            began = time.perf_counter()
            worker = stack.start_worker(concurrency=1, CUTWORK_PRELOAD=MODEL)
            stack.wait_for_worker(worker)
            ready.append(time.perf_counter() - began)
            (line,) = re.findall(r"started: (.*)", worker.log.read_text())
            for name, spent in _PART.findall(line):
                if name == "total":
                    continue
                parts.setdefault(name, []).append(float(spent))
    return [
        Figure(
            what="start of a worker, from its command until it takes jobs",
            value=median(ready),
            unit="s",
            how="; ".join(f"{name} {median(spent):.2f} s" for name, spent in parts.items())
            + "; the rest is Celery",
            samples={"ready, s": ready, **{f"{name}, s": spent for name, spent in parts.items()}},
        )
    ]
