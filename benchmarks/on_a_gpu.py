"""What only a machine with a GPU can say: beside the device's limit and the processors', and rembg.

Each part is a function of the device, so that it can be run in small where there is no GPU::

    python -c 'from benchmarks.on_a_gpu import Extent, rows; print(rows("cpu", Extent.small()))'
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Final

from benchmarks.batch_cost import network
from benchmarks.figure import Figure
from benchmarks.machine import gpu
from benchmarks.size_plot import encoding
from benchmarks.throughput import MODEL, in_a_process, rembg_loop, site
from producer import Options
from worker.config.settings import ModelSettings
from worker.models.engines import gpu as worker_gpu
from worker.models.engines.batch_sizes import batch_sizes
from worker.models.engines.onnx.providers import CPU, CUDA

_LIMITED: Final = (1, 12)
"""Megapixels at which the limits are what counts."""
_AGAINST_REMBG: Final = (1, 6)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is measured, with how many workers."""

    rounds: int = 3
    images: int = 200
    """Through broker and S3, in a round."""
    theirs: int = 20
    """Of rembg, in a round."""
    workers: int = 1
    """Processes, each of which has the model on the device."""
    threads: int = 4

    @classmethod
    def of(cls, cores: int) -> "Extent":
        """As many threads as keep the cores at decoding and encoding while others wait."""
        workers = max(1, cores // 8)
        return cls(workers=workers, threads=cores // workers + 2)

    @classmethod
    def small(cls) -> "Extent":
        """Enough to see that it runs."""
        return cls(rounds=1, images=3, theirs=1)


def on_a_gpu() -> list[Figure]:
    """The rows as they are measured here, or why they are not."""
    why = "no GPU here" if gpu() is None else None
    reason = worker_gpu.unavailable_reason(worker_gpu.onnxruntime_facts())
    if why is None and reason is not None:
        why = str(reason)
    if why is None:
        return rows("cuda", Extent.of(len(os.sched_getaffinity(0))))
    what = [(_within(size, "cuda"), 0.8) for size in _LIMITED]
    what += [(_beside(size, "cuda"), 10) for size in _AGAINST_REMBG]
    return [Figure(what=row, value=None, at_least=bound, how=why) for row, bound in what]


def rows(device: str, extent: Extent) -> list[Figure]:
    """The rows on `cpu` or `cuda`: ours, the bare model and rembg in turns."""
    options = Options(model=MODEL, device_mode="cpu" if device == "cpu" else "require_gpu")
    batches = batch_sizes(1 if device == "cpu" else ModelSettings.read().batch)
    found = _Rates()
    with (
        site(workers=extent.workers, threads=extent.threads, options=options) as here,
        in_a_process(partial(network, device)) as bare,
        in_a_process(partial(rembg_loop, CPU if device == "cpu" else CUDA)) as theirs,
    ):
        for _ in range(extent.rounds):
            for batch in batches:
                found.bare.setdefault(batch, []).append(bare(batch))
            for size in _LIMITED:
                rate = here.rate(size, mask=True, images=extent.images)
                found.with_mask.setdefault(size, []).append(rate)
            for size in _AGAINST_REMBG:
                found.theirs.setdefault(size, []).append(theirs(extent.theirs, size))
                rate = here.rate(size, mask=False, images=extent.images)
                found.alone.setdefault(size, []).append(rate)
    return [*_limits(device, found, extent), *_rembg(device, found)]


@dataclass(frozen=True)
class _Rates:
    """Images a second of every round, by megapixels."""

    bare: dict[int, list[float]] = field(default_factory=dict)
    """By the size of the batch."""
    with_mask: dict[int, list[float]] = field(default_factory=dict)
    alone: dict[int, list[float]] = field(default_factory=dict)
    """Without one, as rembg."""
    theirs: dict[int, list[float]] = field(default_factory=dict)


def _limits(device: str, found: _Rates, extent: Extent) -> Iterator[Figure]:
    """Beside the lower of what the device and the processors can do at all."""
    bare = {batch: median(rates) for batch, rates in found.bare.items()}
    best = max(bare, key=lambda batch: bare[batch])
    cores = len(os.sched_getaffinity(0))
    for size in _LIMITED:
        encoder = cores / encoding(size)
        rate = median(found.with_mask[size])
        yield Figure(
            what=_within(size, device),
            value=rate / min(bare[best], encoder),
            at_least=0.8,
            how=(
                f"{rate:.3g} images/s, {extent.workers} × {extent.threads} threads; bare model "
                f"{bare[best]:.3g} in batches of {best}, encoder alone {encoder:.3g} on {cores} "
                "cores; RGBA PNG and mask"
            ),
            samples={
                "through, images/s": found.with_mask[size],
                "encoder, images/s": [encoder],
                **{f"bare in batches of {each}, images/s": found.bare[each] for each in bare},
            },
        )


def _rembg(device: str, found: _Rates) -> Iterator[Figure]:
    """Beside rembg on the same device, one image after the other, as it is used."""
    for size in _AGAINST_REMBG:
        ours, theirs = median(found.alone[size]), median(found.theirs[size])
        yield Figure(
            what=_beside(size, device),
            value=ours / theirs,
            at_least=10,
            how=f"{ours:.3g} ÷ {theirs:.3g} images/s; JPEG to RGBA PNG",
            samples={"ours, images/s": found.alone[size], "rembg, images/s": found.theirs[size]},
        )


def _within(size: int, device: str) -> str:
    limit = "the lower of bare model and encoder"
    return f"images/s through broker and S3 ÷ {limit}, {size} MP, {_named(device)}"


def _beside(size: int, device: str) -> str:
    return f"images/s ÷ rembg's with its {device.upper()} provider, {size} MP, {_named(device)}"


def _named(device: str) -> str:
    return "CPU" if device == "cpu" else "GPU"
