"""Time, memory and result of matting compared with pymatting, each in its own process.

    python -m benchmarks.matting_cost ours|exact|pymatting CASE.npz ALPHA.npy

runs one of them and prints its seconds and its peak memory in bytes.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.figure import Figure
from benchmarks.peak_memory import peak_memory
from benchmarks.photographs import jpegs
from deploy.demo.command import MODEL
from producer.contract.options import Options
from worker.config.settings import ModelSettings
from worker.imaging.decode import open_image
from worker.imaging.matting.alpha import closed_form_alpha
from worker.imaging.matting.kernels import kernels
from worker.imaging.matting.trimap import trimap_from_mask
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.factory import open_models, open_store
from worker.pipeline.recipe import Recipe
from worker.pipeline.segment import load_model, segment

MEGAPIXELS: Final = 6
_ERODE_SIZE: Final = 10
"""Pixels, as in all kept results; the default of Cutwork's preset is wider for 6 MP."""
_NEAR: Final = 2 / 255
_PHOTOGRAPHS: Final = ("astronaut.png", "coffee.png", "motorcycle_left.png")
"""Large photographs with fur or a soft sky are excluded: pymatting takes many minutes for them."""


class _Run(NamedTuple):
    seconds: float
    memory: int
    alpha: NDArray[np.float64]


def matting_cost() -> list[Figure]:
    """Matte photographs of 6 MP with both, each time from the same trimap."""
    ours: list[_Run] = []
    exact: list[_Run] = []
    theirs: list[_Run] = []
    near: list[float] = []
    unknown: list[float] = []
    with tempfile.TemporaryDirectory(prefix="cutwork-bench-") as folder:
        for case in _cases(Path(folder)):
            ours.append(_run("ours", case))
            exact.append(_run("exact", case))
            theirs.append(_run("pymatting", case))
            off = np.abs(ours[-1].alpha - theirs[-1].alpha)
            near.append(100 * float((off <= _NEAR).mean()))
            with np.load(case) as arrays:
                unknown.append(100 * float((arrays["trimap"] == 128).mean()))
    seconds = [a.seconds / b.seconds for a, b in zip(ours, theirs, strict=True)]
    memory = [a.memory / b.memory for a, b in zip(ours, theirs, strict=True)]
    share = f"{min(unknown):.0f} to {max(unknown):.0f} % of the pixels unknown"
    return [
        Figure(
            what=f"matting {MEGAPIXELS} MP, time ÷ that of pymatting",
            value=median(seconds),
            at_most=0.25,
            how=f"{_middle(ours, 'seconds'):.2f} ÷ {_middle(theirs, 'seconds'):.1f} s; {share}",
            samples={
                "ours, s": [run.seconds for run in ours],
                "pymatting, s": [run.seconds for run in theirs],
            },
        ),
        Figure(
            what="the same at the precision that segmentation-custom needs for its colours",
            value=median(a.seconds / b.seconds for a, b in zip(exact, theirs, strict=True)),
            at_most=0.25,
            how=f"{_middle(exact, 'seconds'):.2f} ÷ {_middle(theirs, 'seconds'):.1f} s",
            samples={"exact, s": [run.seconds for run in exact]},
        ),
        Figure(
            what=f"matting {MEGAPIXELS} MP, peak memory ÷ that of pymatting",
            value=median(memory),
            at_most=0.5,
            how=f"{_middle(ours, 'memory') / 1e9:.2f} ÷ {_middle(theirs, 'memory') / 1e9:.2f} GB",
            samples={
                "ours, bytes": [run.memory for run in ours],
                "pymatting, bytes": [run.memory for run in theirs],
            },
        ),
        Figure(
            what=f"matting {MEGAPIXELS} MP, pixels within 2/255 of pymatting",
            value=min(near),
            unit="%",
            at_least=99.5,
            how="the worst photograph",
            samples={"within, %": near, "unknown, %": unknown},
        ),
    ]


def _middle(runs: list[_Run], name: str) -> float:
    return median(float(getattr(run, name)) for run in runs)


def _cases(folder: Path) -> list[Path]:
    """Write each photograph with the model's mask and its trimap; return the files."""
    settings, options = ModelSettings.read(), Options(model=MODEL)
    store = open_store(settings)
    models = open_models(settings, store)
    recipe, watch = Recipe.resolve(options, file=store.resolve(MODEL)), Stopwatch()
    cases = []
    for number, name in enumerate(_PHOTOGRAPHS):
        picture = open_image(jpegs(MEGAPIXELS)[name], max_pixels=10**8).decode()
        with load_model(recipe, models=models, watch=watch) as model:
            mask, _, _ = segment(picture, recipe, model=model, watch=watch)
        sure = trimap_from_mask(
            mask,
            foreground_threshold=options.alpha_matting_foreground_threshold,
            background_threshold=options.alpha_matting_background_threshold,
            erode_size=_ERODE_SIZE,
        )
        cases.append(folder / f"{number}.npz")
        np.savez(cases[-1], rgb=picture.rgb, mask=mask, trimap=sure)
    models.cache.close()
    return cases


def _run(name: str, case: Path) -> _Run:
    target = case.with_suffix(f".{name}.npy")
    command = [sys.executable, "-m", "benchmarks.matting_cost", name, str(case), str(target)]
    # pymatting prints warnings as well.
    result = json.loads(
        subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1]
    )
    return _Run(result["seconds"], result["memory"], np.load(target))


def main(name: str, case: str, target: str) -> None:
    """Run one measurement in this process."""
    with np.load(case) as arrays:
        rgb, mask, trimap = arrays["rgb"], arrays["mask"], arrays["trimap"]
    if name in ("ours", "exact"):
        kernels()

        def solve() -> NDArray[np.float64]:
            return closed_form_alpha(rgb, trimap, start=mask, exact=name == "exact")[0]
    else:
        from pymatting import estimate_alpha_cf

        def solve() -> NDArray[np.float64]:
            alpha: NDArray[np.float64] = estimate_alpha_cf(rgb / 255.0, trimap / 255.0)
            return alpha

    before = psutil.Process().memory_info().rss
    began = time.perf_counter()
    alpha = solve()
    seconds = time.perf_counter() - began
    memory = max(peak_memory(psutil.Process().pid) - before, 1)
    np.save(target, alpha)
    print(json.dumps({"seconds": seconds, "memory": memory}))


if __name__ == "__main__":
    main(*sys.argv[1:])
