"""A worker with a stand-in for the model, for benchmarks of everything around it.

`CUTWORK_STANDIN=sleep` fetches, decodes, sleeps 20 ms where a model would run, encodes and stores,
and adds a byte to the file `CUTWORK_STANDIN_LOG` for every such sleep. `empty` does nothing at all
with a job but answer it.
"""

import os
import time
from functools import cache
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from producer.job import Job
from producer.outcome import Outcome
from worker import tasks
from worker.inference import Inference
from worker.models.budget import Budget
from worker.models.cache import ModelCache
from worker.models.engine import Engine, EngineFacts
from worker.models.profile import Profile
from worker.models.store import ModelFile, ModelStore
from worker.pipeline import Pipeline
from worker.segment import Models
from worker.watchdog import Watchdog

SECONDS: Final = 0.02
"""What the stand-in takes for an image."""

app = tasks.app


class _Engine:
    facts = EngineFacts(engine="standin", provider="sleep", device="cpu", dtype="float32")
    input_size = (32, 32)
    bytes = 1

    def infer(self, _batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with Path(os.environ["CUTWORK_STANDIN_LOG"]).open("ab") as log:
            log.write(b".")
        time.sleep(SECONDS)
        return np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(1, 32, 32)

    def close(self) -> None:
        return


class _Store:
    def find(self, name: str, **_: object) -> ModelFile:
        return ModelFile(name=name, path=Path(name), sha256="0" * 64, profile=Profile(size=32))


class _Empty(Pipeline):
    def run(self, job: Job, **_: object) -> Outcome:
        return Outcome(job_id=job.id, state="done")


@cache
def _runtime() -> tasks.Runtime:
    held = _real_runtime()
    budget = Budget.of(memory=0, gpu_memory=0, gpu_idle=60)
    cache = ModelCache(lambda *_: cast(Engine, _Engine()), budget=budget)
    inference = Inference(cache=cache, watchdog=Watchdog(timeout=300), batch=1)
    models = Models(store=cast(ModelStore, _Store()), cache=cache, inference=inference)
    kind = _Empty if os.environ["CUTWORK_STANDIN"] == "empty" else Pipeline
    pipeline = kind(storage=held.pipeline.storage, models=models, limits=held.pipeline.limits)
    return tasks.Runtime(settings=held.settings, pipeline=pipeline, ledger=held.ledger)


_real_runtime = tasks.runtime
tasks.runtime = _runtime
