"""A plot of backlog, workers and images per second over a trial."""

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure as Page

from benchmarks.machine import machine
from benchmarks.scale.trial import Result

_BIN_SECONDS: Final = 4.0
_BLUE, _ORANGE, _GREEN, _RED = "#4e79a7", "#f28e2b", "#59a14f", "#e15759"


def plot(result: Result, target: Path) -> None:
    """Draw a trial; times are seconds since the burst."""
    start = result.burst_at
    at = [sample.at - start for sample in result.samples]
    signals = [sample.signals for sample in result.samples]
    page = Page(figsize=(9, 7.5), layout="constrained")
    backlog, workers, rate = page.subplots(3, 1, sharex=True)
    waiting = [np.nan if one is None else one.waiting for one in signals]
    every = [np.nan if one is None else one.waiting + one.in_flight for one in signals]
    backlog.fill_between(at, every, color=_BLUE, alpha=0.3, label="backlog, in flight included")
    backlog.plot(at, waiting, color=_BLUE, label="waiting")
    backlog.set_ylabel("images")
    workers.step(
        at,
        [sample.wanted for sample in result.samples],
        color=_ORANGE,
        where="post",
        label="wanted",
    )
    workers.step(
        at,
        [sample.ready for sample in result.samples],
        color=_GREEN,
        where="post",
        label="taking jobs",
    )
    workers.set_ylabel("workers")
    times = np.array(result.done) - start
    edges = np.arange(min(0.0, at[0]), at[-1] + _BIN_SECONDS, _BIN_SECONDS)
    counts, _ = np.histogram(times, edges)
    rate.stairs(counts / _BIN_SECONDS, edges, fill=True, color=_GREEN, alpha=0.5, label="done")
    ready = [sample.ready / result.setting.image_seconds for sample in result.samples]
    rate.step(at, ready, color=_GREEN, where="post", label="capacity of these workers")
    rate.set_ylabel("images per second")
    rate.set_xlabel("seconds since the burst")
    for axes in (backlog, workers, rate):
        for number, moment in enumerate(result.preempted):
            label = "a machine is pre-empted" if number == 0 else None
            axes.axvline(moment - start, color=_RED, linestyle=":", label=label)
        axes.grid(visible=True, alpha=0.25)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    facts, setting = machine(), result.setting
    page.suptitle(
        f"{setting.jobs:,} jobs for an empty pool, {setting.policy.max_workers} workers at most, "
        f"{len(result.preempted)} pre-empted, {result.lost} images lost; a model that sleeps "
        f"{setting.image_seconds:g} s\n{facts['processor']}, {facts['cores']} cores",
        fontsize=9,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    page.savefig(target, dpi=110)
