"""A worker whose model is a stand-in, to measure or test everything around the model.

`CUTWORK_STANDIN` selects the stand-in:

- `sleep` fetches, decodes, encodes and stores as usual. In place of the model it sleeps for
  `CUTWORK_STANDIN_SECONDS` (0.02), and then until the file `CUTWORK_STANDIN_UNTIL` exists if that
  is set. It appends a byte to the file `CUTWORK_STANDIN_LOG` for every image that reaches the
  model. A model named by an s3:// URI is the real one, counted in the same way.
- `deadly` does the same, but an image of a single grey kills the process, as a driver's fault does.
- `empty` records an outcome for every job and does nothing else.
"""

import os
import signal
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from producer.contract.job import Job
from producer.contract.outcome import Outcome
from worker.models.engines.budget import Budget
from worker.models.engines.cache import ModelCache
from worker.models.engines.engine import Engine, EngineFacts
from worker.models.engines.load import make_loader
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile, ModelStore
from worker.pipeline.factory import open_file_cache
from worker.pipeline.job import Pipeline
from worker.runtime import lifecycle, state, tasks
from worker.runtime.celery_app import app

_SIDE: Final = 32
_FACTS: Final = EngineFacts(engine="standin", provider="sleep", device="cpu", dtype="float32")

__all__ = ["app", "lifecycle", "tasks"]


class _Engine:
    """The stand-in, or a real engine whose images are counted."""

    def __init__(self, real: Engine | None) -> None:
        self._real = real
        self.facts = real.facts if real else _FACTS
        self.input_size = real.input_size if real else (_SIDE, _SIDE)
        self.bytes = real.bytes if real else 1
        self.max_batch = real.max_batch if real else 1
        self.segmenter = None  # `infer` alone counts images.

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with Path(os.environ["CUTWORK_STANDIN_LOG"]).open("ab") as log:
            log.write(b"." * len(batch))
        if os.environ["CUTWORK_STANDIN"] == "deadly" and any(_is_plain(one) for one in batch):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(os.environ.get("CUTWORK_STANDIN_SECONDS", "0.02")))
        if gate := os.environ.get("CUTWORK_STANDIN_UNTIL"):
            while not Path(gate).exists():
                time.sleep(0.01)
        if self._real:
            return self._real.infer(batch)
        ramp = np.linspace(0, 1, _SIDE * _SIDE, dtype=np.float32).reshape(1, _SIDE, _SIDE)
        return np.repeat(ramp, len(batch), axis=0)

    def close(self) -> None:
        if self._real:
            self._real.close()


class _Store:
    def __init__(self, real: ModelStore) -> None:
        self._real = real

    def resolve(self, name: str, **facts: Any) -> ModelFile:
        if _is_real(name):
            return self._real.resolve(name, **facts)
        profile = Profile(size=_SIDE)
        return ModelFile(name=name, path=Path(name), sha256="0" * 64, profile=profile)


def _is_plain(planes: NDArray[np.float32]) -> bool:
    return not np.ptp(planes, axis=(1, 2)).any()


def _is_real(model: str) -> bool:
    return model.startswith("s3://")


class _Empty(Pipeline):
    def run(self, job: Job, **_: object) -> Outcome:
        return Outcome(job_id=job.id, state="done")


@cache
def _current() -> state.Runtime:
    runtime = _original_current()
    real = runtime.pipeline.models
    load = make_loader(threads=1, file_cache=open_file_cache(runtime.settings))

    def counted(file: ModelFile, device: str) -> Engine:
        return _Engine(load(file, device) if _is_real(file.name) else None)

    models = replace(
        real,
        store=cast(ModelStore, _Store(real.store)),
        cache=ModelCache(
            counted,
            budget=Budget.of(memory=0, gpu_memory=0, gpu_idle=60),
            events=runtime.metrics,
        ),
    )
    if os.environ["CUTWORK_STANDIN"] == "empty":
        pipeline: Pipeline = _Empty(**{**vars(runtime.pipeline), "models": models})
    else:
        pipeline = replace(runtime.pipeline, models=models)
    return replace(runtime, pipeline=pipeline)


_original_current = state.current
state.current = _current
