"""The effect of batches: images per second of the bare network by batch size."""

import time
from functools import partial
from statistics import median
from typing import Final

import numpy as np
import onnxruntime

from benchmarks.figure import Figure
from benchmarks.throughput import MODEL, Loop, in_a_process
from worker.config.settings import ModelSettings
from worker.models.engines import gpu
from worker.models.engines.onnx.prepared_graph import prepared_graph
from worker.models.engines.onnx.providers import providers
from worker.models.engines.onnx.segmenter import OrtDevice
from worker.pipeline.factory import open_file_cache, open_store

_ROUNDS: Final = 3
_SIZES: Final = {"cpu": (1, 2, 4), "cuda": (1, 2, 4, 8, 16)}
_RUNS: Final = {"cpu": 1, "cuda": 30}
"""Batches per measurement; a single one of a few milliseconds would be too inaccurate."""


def batch_cost() -> list[Figure]:
    """Measure every batch size in turns on each available device."""
    devices = ["cpu"] if gpu.unavailable_reason(gpu.onnxruntime_facts()) else ["cpu", "cuda"]
    return [_figure(device) for device in devices]


def _figure(device: str) -> Figure:
    rates: dict[int, list[float]] = {size: [] for size in _SIZES[device]}
    with in_a_process(partial(network, device)) as loop:
        for _ in range(_ROUNDS):
            for size, samples in rates.items():
                samples.append(loop(size))
    medians = {size: median(samples) for size, samples in rates.items()}
    best = max(medians, key=lambda size: medians[size])
    return Figure(
        what=f"images/s of ONNX Runtime in batches of {best} ÷ one at a time, {_label(device)}",
        value=medians[best] / medians[1],
        how=", ".join(f"{size}: {rate:.3g}" for size, rate in medians.items()) + " images/s",
        samples={f"in batches of {size}, images/s": samples for size, samples in rates.items()},
    )


def network(device: str) -> Loop:
    """Return a function that runs batches of a size and returns images per second.

    `device` is `cpu` or `cuda`; images and maps stay in its memory.
    """
    settings = ModelSettings.read()
    file = open_store(settings).resolve(MODEL)
    graph = prepared_graph(
        file, full_precision=device == "cpu", file_cache=open_file_cache(settings)
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph), options, providers=providers(device))
    if OrtDevice.of(device).kind == "cuda" and session.get_providers()[0] == providers("cpu")[0][0]:
        raise RuntimeError("CUDA did not start; onnxruntime's log says why")
    (fed,), (read,) = session.get_inputs(), session.get_outputs()
    dtype = np.float16 if fed.type == "tensor(float16)" else np.float32
    sides = file.profile.sides or (1024, 1024)

    def loop(images: float) -> float:
        shape = (int(images), 3, sides[1], sides[0])
        place = OrtDevice.of(device)
        binding = session.io_binding()
        batch = np.random.default_rng(0).random(shape, np.float32).astype(dtype)
        binding.bind_ortvalue_input(fed.name, place.copy(batch))
        binding.bind_output(read.name, *place)
        if device != "cpu":
            session.run_with_iobinding(binding)  # The first run for a shape selects algorithms.
        began = time.perf_counter()
        for _ in range(_RUNS[device]):
            session.run_with_iobinding(binding)
        return _RUNS[device] * images / (time.perf_counter() - began)

    return loop


def _label(device: str) -> str:
    return "CPU" if device == "cpu" else "GPU"
