"""`make bench-memory`: a worker's peak memory with twelve large images at once, as a table.

Every case has a worker of its own with one thread per job, and gets all its jobs at once. The
model's memory is the difference between a worker after one small image and one without a model.
`make bench-memory ARGS='default matted'` measures some cases.
"""

import io
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import skimage.data
from PIL import Image
from rich.console import Console

from benchmarks.figure import Figure
from benchmarks.peak_memory import peak_memory
from benchmarks.servers import servers
from benchmarks.table import Row, show
from deploy.local import LocalStack
from producer import Client, Options, Outcome
from worker.imaging.masks import to_depth
from worker.imaging.png import write_png

AROUND: Final = 500 * 10**6
"""The memory allowed in addition to the budget and the model."""
_JOBS: Final = 12
_TIMEOUT: Final = 1800


@dataclass(frozen=True, kw_only=True)
class Case:
    """Jobs of one kind."""

    megapixels: float = 100
    suffix: str = "jpg"
    jobs: int = _JOBS
    budget: float = 4
    """`CUTWORK_IMAGE_MEMORY` in gigabytes."""
    options: Mapping[str, Any] = field(default_factory=dict)


CASES: Final[Mapping[str, Case]] = {
    "unchanged": Case(options={"enabled": False}),
    "default": Case(),
    "default-24": Case(megapixels=24, budget=1.5),
    "isnet-segment": Case(options={"preset": "isnet-segment"}),
    "segmentation-custom": Case(options={"preset": "segmentation-custom"}),
    "rembg-colours-24": Case(
        megapixels=24, options={"preset": "segmentation-custom", "estimate_foreground": True}
    ),
    "16-bit-24": Case(megapixels=24, budget=1.5, suffix="png", options={"bit_depth": 16}),
    "webp-24": Case(
        megapixels=24, budget=1.5, options={"image_format": "webp", "mask_format": "webp"}
    ),
    "matted-2": Case(megapixels=2, jobs=6, options={"alpha_matting": True}),
}


class Peak(NamedTuple):
    """The memory that a worker used for the jobs of a case, in bytes."""

    name: str
    case: Case
    model: int
    peak: int
    done: int
    seconds: float
    """The duration of the slowest job."""

    @property
    def bound(self) -> float:
        """The largest allowed memory."""
        return self.case.budget * 1e9 + self.model + AROUND

    @property
    def ok(self) -> bool:
        """Whether all jobs were done within that memory."""
        return self.peak < self.bound and self.done == self.case.jobs

    def row(self) -> Row:
        """Return the row that `make bench-memory` prints."""
        return Row(
            f"{self.name}: {self.case.jobs} × {self.case.megapixels:g} MP, budget "
            f"{self.case.budget:g} GB, model {self.model / 1e6:.0f} MB: peak, done; longest "
            f"{self.seconds:.0f} s",
            f"{self.peak / 1e6:,.0f} MB, {self.done}",
            f"< {self.bound / 1e6:,.0f} MB, {self.case.jobs}",
            self.ok,
        )


def peaks(names: list[str]) -> Iterator[Peak]:
    """Measure the cases with these names."""
    with servers() as (stack, _):
        small = Case(megapixels=0.05, jobs=1)
        plain = Case(megapixels=0.05, jobs=1, options={"enabled": False})
        model = _peak(stack, small)[0] - _peak(stack, plain)[0]
        for name in names:
            case = CASES[name]
            taken = model if case.options.get("enabled", True) else 0
            yield Peak(name, case, taken, *_peak(stack, case))


def twelve_at_once() -> list[Figure]:
    """Measure the case that `make bench` includes: twelve images of 24 MP."""
    (peak,) = peaks(["default-24"])
    case = peak.case
    return [
        Figure(
            what=f"peak memory of a worker, {case.jobs} images of {case.megapixels:g} MP at once",
            value=peak.peak / 1e9 if peak.done == case.jobs else None,
            unit="GB",
            at_most=round(peak.bound / 1e9, 2),
            how=f"budget {case.budget:g} GB + model {peak.model / 1e9:.2f} GB + 0.5 GB; "
            f"{peak.done} done",
        )
    ]


def _peak(stack: LocalStack, case: Case) -> tuple[int, int, float]:
    """Return a worker's peak memory in bytes, the finished jobs and the longest duration."""
    options = Options.model_validate(case.options)
    key = f"{case.megapixels:g}-{options.bit_depth}.{case.suffix}"
    stack.s3().put_object(Bucket="photos", Key=key, Body=_picture(case, options.bit_depth))
    worker = stack.start_worker(
        concurrency=_JOBS,
        CUTWORK_IMAGE_MEMORY=str(int(case.budget * 1e9)),
        CUTWORK_VISIBILITY_TIMEOUT=str(2 * _TIMEOUT),
    )
    stack.wait_for_worker(worker)
    with stack.client() as client:
        outcomes = _run(client, f"s3://photos/{key}", case.jobs, options)
    peak = peak_memory(worker.pid)
    worker.stop(grace=10)
    for outcome in outcomes:
        if outcome.state != "done":
            Console(stderr=True).print(f"{outcome.code}: {outcome.message}")
    done = sum(outcome.state == "done" for outcome in outcomes)
    return peak, done, max(outcome.seconds.get("total", 0) for outcome in outcomes)


def _run(client: Client, source: str, jobs: int, options: Options) -> list[Outcome]:
    handles = [
        client.submit(
            source,
            image=f"s3://cutouts/{number}.{options.image_format}",
            mask=f"s3://cutouts/{number}-mask.{options.mask_format}",
            options=options.model_copy(update={"if_exists": "overwrite"}),
        )
        for number in range(jobs)
    ]
    return [handle.wait(_TIMEOUT) for handle in handles]


def _picture(case: Case, depth: int) -> bytes:
    """Return a portrait with grain, at this many megapixels."""
    side = round((case.megapixels * 10**6) ** 0.5)
    photo = Image.fromarray(skimage.data.astronaut()).resize((side, side))
    pixels = np.array(photo)
    grain = np.random.default_rng(0).integers(0, 16, (side, 1, 3), np.uint8)
    pixels //= 2
    pixels += np.roll(grain, 7, axis=0)
    if case.suffix == "png":
        wide = to_depth(pixels, np.uint16) if depth == 16 else pixels
        return write_png(wide, icc_profile=None, dpi=None)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def main() -> None:
    """Measure the named cases, or all; exit with 1 if a bound is missed."""
    wanted = sys.argv[1:] or list(CASES)
    if unknown := set(wanted) - set(CASES):
        sys.exit(f"expected some of {', '.join(CASES)}, found {', '.join(sorted(unknown))}")
    rows = []
    with Console(stderr=True).status("measuring …"):
        for peak in peaks(wanted):
            rows.append(peak.row())
            Console(stderr=True).print(rows[-1])
    sys.exit(0 if show(rows) else 1)


if __name__ == "__main__":
    main()
