"""Measurements on a GPU, compared with the limits of GPU and processors, and with rembg.

Each part is a function of the device, so that a minimal measurement runs without a GPU::

    python -c 'from benchmarks.on_a_gpu import Extent, rows; print(rows("cpu", Extent.small()))'
"""

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
from worker.imaging.cores import usable_cores
from worker.models.engines import gpu as worker_gpu
from worker.models.engines.batch_sizes import batch_sizes
from worker.models.engines.onnx.providers import CPU, CUDA

_LIMITED: Final = (1, 12)
"""The image sizes in megapixels at which the limits matter."""
_AGAINST_REMBG: Final = (1, 6)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The extent of the measurement."""

    rounds: int = 3
    images: int = 200
    """Images per round through broker and S3."""
    theirs: int = 20
    """Images per round of rembg."""
    workers: int = 1
    """Worker processes, each with the model on the device."""
    threads: int = 4

    @classmethod
    def of(cls, cores: int) -> "Extent":
        """Return an extent whose threads keep the cores busy with decoding and encoding."""
        workers = max(1, cores // 8)
        return cls(workers=workers, threads=cores // workers + 2)

    @classmethod
    def small(cls) -> "Extent":
        """Return a minimal extent, to see that the measurement works."""
        return cls(rounds=1, images=3, theirs=1)


def on_a_gpu() -> list[Figure]:
    """Return the measured rows, or the reason why they cannot be measured here."""
    why = "no GPU was available" if gpu() is None else None
    reason = worker_gpu.unavailable_reason(worker_gpu.onnxruntime_facts())
    if why is None and reason is not None:
        why = str(reason)
    if why is None:
        return rows("cuda", Extent.of(usable_cores()))
    what = [(_within(size, "cuda"), 0.8) for size in _LIMITED]
    what += [(_against_rembg(size, "cuda"), 10) for size in _AGAINST_REMBG]
    return [Figure(what=row, value=None, at_least=bound, how=why) for row, bound in what]


def rows(device: str, extent: Extent) -> list[Figure]:
    """Measure Cutwork, the bare model and rembg in turns on `cpu` or `cuda`."""
    options = Options(model=MODEL, device_mode="cpu" if device == "cpu" else "require_gpu")
    batches = batch_sizes(1 if device == "cpu" else ModelSettings.read().batch)
    rates = _Rates()
    with (
        site(workers=extent.workers, threads=extent.threads, options=options) as here,
        in_a_process(partial(network, device)) as bare,
        in_a_process(partial(rembg_loop, CPU if device == "cpu" else CUDA)) as theirs,
    ):
        for _ in range(extent.rounds):
            for batch in batches:
                rates.bare.setdefault(batch, []).append(bare(batch))
            for size in _LIMITED:
                rate = here.rate(size, mask=True, images=extent.images)
                rates.with_mask.setdefault(size, []).append(rate)
            for size in _AGAINST_REMBG:
                rates.theirs.setdefault(size, []).append(theirs(extent.theirs, size))
                rate = here.rate(size, mask=False, images=extent.images)
                rates.alone.setdefault(size, []).append(rate)
    return [*_limits(device, rates, extent), *_rembg(device, rates)]


@dataclass(frozen=True)
class _Rates:
    """Images per second of every round, by megapixels."""

    bare: dict[int, list[float]] = field(default_factory=dict)
    """Images per second by batch size."""
    with_mask: dict[int, list[float]] = field(default_factory=dict)
    alone: dict[int, list[float]] = field(default_factory=dict)
    """Images per second without a batch, as rembg runs."""
    theirs: dict[int, list[float]] = field(default_factory=dict)


def _limits(device: str, samples: _Rates, extent: Extent) -> Iterator[Figure]:
    """Compare with the lower of the device's and the processors' limits."""
    bare = {batch: median(rates) for batch, rates in samples.bare.items()}
    best = max(bare, key=lambda batch: bare[batch])
    cores = usable_cores()
    for size in _LIMITED:
        encoder = cores / encoding(size)
        rate = median(samples.with_mask[size])
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
                "through, images/s": samples.with_mask[size],
                "encoder, images/s": [encoder],
                **{f"bare in batches of {each}, images/s": samples.bare[each] for each in bare},
            },
        )


def _rembg(device: str, samples: _Rates) -> Iterator[Figure]:
    """Compare with rembg on the same device, one image after the other."""
    for size in _AGAINST_REMBG:
        ours, theirs = median(samples.alone[size]), median(samples.theirs[size])
        yield Figure(
            what=_against_rembg(size, device),
            value=ours / theirs,
            at_least=10,
            how=f"{ours:.3g} ÷ {theirs:.3g} images/s; JPEG to RGBA PNG",
            samples={
                "ours, images/s": samples.alone[size],
                "rembg, images/s": samples.theirs[size],
            },
        )


def _within(size: int, device: str) -> str:
    limit = "the lower of bare model and encoder"
    return f"images/s through broker and S3 ÷ {limit}, {size} MP, {_named(device)}"


def _against_rembg(size: int, device: str) -> str:
    return (
        f"images/s ÷ those of rembg with its {device.upper()} provider, {size} MP, {_named(device)}"
    )


def _named(device: str) -> str:
    return "CPU" if device == "cpu" else "GPU"
