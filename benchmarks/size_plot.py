"""A plot of images per second by image size, with the limits."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from matplotlib.figure import Figure as Page

from benchmarks.encoders import cut_outs
from benchmarks.figure import Figure
from benchmarks.machine import machine
from benchmarks.throughput import bare_model, in_a_process, site
from worker.imaging.cores import usable_cores
from worker.imaging.encode import EncodeSettings, encode

SIZES: Final = (0.25, 1, 3, 6, 12, 24)
"""Image sizes in megapixels."""
_BARE: Final = 4
_IMAGES: Final = 6


def against_size(target: Path) -> list[Figure]:
    """Measure every size once, the bare model and the encoder alone; write the plot to `target`."""
    with site() as here, in_a_process(bare_model) as loop:
        bare = loop(_BARE)
        through = [here.rate(size, mask=True, images=_IMAGES) for size in SIZES]
    cores = usable_cores()
    encoder = [cores / encoding(size) for size in SIZES]
    _plot(target, bare=bare, through=through, encoder=encoder)
    shares = [rate / min(bare, limit) for rate, limit in zip(through, encoder, strict=True)]
    return [
        Figure(
            what="images/s ÷ the lower of bare model and encoder, 0.25 to 24 MP, minimum",
            value=min(shares),
            how=", ".join(
                f"{size:g} MP {share:.2f}" for size, share in zip(SIZES, shares, strict=True)
            ),
            samples={
                "megapixels": SIZES,
                "through, images/s": through,
                "bare, images/s": [bare],
                "encoder, images/s": encoder,
            },
        )
    ]


def encoding(megapixels: float) -> float:
    """Return the core seconds to encode an image's cut-out and mask, half of it foreground."""
    spent = []
    for rgba in cut_outs(megapixels):
        began = time.perf_counter()
        for pixels in (rgba, np.ascontiguousarray(rgba[:, :, 3])):
            encode(pixels, image_format="png", settings=EncodeSettings())
        spent.append(time.perf_counter() - began)
    return median(spent)


def _plot(target: Path, *, bare: float, through: Sequence[float], encoder: Sequence[float]) -> None:
    page = Page(figsize=(8, 4.5), layout="constrained")
    axes = page.add_subplot(
        xscale="log", yscale="log", xlabel="megapixels", ylabel="images a second"
    )
    axes.plot(SIZES, through, "o-", color="#f28e2b", label="through broker and S3")
    axes.axhline(bare, color="#4e79a7", label="the bare model in a loop")
    axes.plot(SIZES, encoder, "--", color="#59a14f", label="PNG encoder alone, every core")
    axes.set_xticks(SIZES, [f"{size:g}" for size in SIZES])
    axes.minorticks_off()
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(frameon=False)
    facts = machine()
    axes.set_title(
        f"1 worker, JPEG to RGBA PNG and mask; {facts['processor']}, {facts['cores']} cores, "
        f"GPU: {facts['gpu']}",
        fontsize=9,
    )
    page.savefig(target, dpi=120)
