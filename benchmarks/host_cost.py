"""`python -m benchmarks.host_cost`: processor time per image without the model.

The figures go to `bench-out/host.json`; `benchmarks.fleet` uses those in `benchmarks/results/`.

It measures the whole path of a photograph in memory: decode, resize, normalise, mask,
decontaminate and encode to an RGBA PNG and a mask. The model runs once per photograph beforehand,
and its maps are reused. With a GPU, preprocessing and postprocessing run on the device, so its host
does a little less.
"""

import io
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.photographs import jpegs
from producer import Options
from worker.config.settings import ModelSettings
from worker.models.engines.budget import Budget
from worker.models.engines.cache import ModelCache
from worker.models.engines.engine import Engine
from worker.models.engines.load import make_loader
from worker.models.files.store import ModelFile
from worker.models.inference import Inference
from worker.models.watchdog import Watchdog
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.cutout import cut_out
from worker.pipeline.factory import open_file_cache, open_limits, open_store
from worker.pipeline.recipe import Recipe
from worker.pipeline.segment import Models

OUT: Final = Path("bench-out")
_SIZES: Final = (1, 6, 12)
_ROUNDS: Final = 3
_OPTIONS: Final = Options()


class _Remembering:
    """An engine that runs the model once per picture."""

    def __init__(self, real: Engine) -> None:
        self._real = real
        self._known: dict[bytes, NDArray[np.float32]] = {}
        self.facts, self.input_size = real.facts, real.input_size
        self.bytes, self.max_batch = real.bytes, real.max_batch
        self.segmenter = None

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        name = batch[:, :, ::64, ::64].tobytes()
        if name not in self._known:
            self._known[name] = self._real.infer(batch)
        return self._known[name]

    def close(self) -> None:
        self._real.close()


def host_cost() -> dict[int, list[float]]:
    """Measure the core seconds of an image several times, by megapixels."""
    # Threads that spin while they wait would count as work.
    numba.set_num_threads(1)
    settings = ModelSettings.read()
    load = make_loader(threads=0, file_cache=open_file_cache(settings))

    def remembering(file: ModelFile, device: str) -> Engine:
        return _Remembering(load(file, device))

    cache = ModelCache(remembering, budget=Budget.of(memory=0, gpu_memory=0, gpu_idle=60))
    watchdog = Watchdog(device_timeout=settings.device_timeout)
    inference = Inference(cache=cache, watchdog=watchdog)
    models = Models(store=open_store(settings), cache=cache, inference=inference)
    limits = open_limits(settings)
    recipe = Recipe.resolve(_OPTIONS, file=models.find(_OPTIONS.model))

    def once(data: bytes) -> None:
        with limits.image_memory.reserve() as reservation:
            cut_out(
                io.BytesIO(data),
                recipe,
                length=len(data),
                models=models,
                limits=limits,
                reservation=reservation,
                watch=Stopwatch(),
            )

    seconds: dict[int, list[float]] = {}
    for megapixels in _SIZES:
        pictures = list(jpegs(megapixels).values())
        for data in pictures:
            once(data)
        seconds[megapixels] = []
        for _ in range(_ROUNDS):
            began = time.process_time()
            for data in pictures:
                once(data)
            seconds[megapixels].append((time.process_time() - began) / len(pictures))
    return seconds


def main() -> None:
    """Measure, print the figures and write them to the file."""
    samples = host_cost()
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python -m benchmarks.host_cost",
        "machine": machine(),
        "seconds": {size: median(spent) for size, spent in samples.items()},
        "samples": samples,
    }
    OUT.mkdir(exist_ok=True)
    text = json.dumps(report, indent=1, ensure_ascii=False)
    (OUT / "host.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
