"""`make hostile`: what each hostile file costs, in processor time, memory and bytes of log.

Every picture passes through the pipeline without a model, in each of the ways of `WAYS`; every
model is loaded and run once. The share of a file is what a worker sets apart for it: its bytes and
the memory estimate. A graph is prepared in a process whose time counts here, and whose memory has a
limit of its own.

The table has the worst file of each kind; all rows go to `hostile-out/hostile.json`.
`make hostile ARGS='png tiff --way 16-bit'` measures some of them.
"""

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.machine import machine
from producer import Options
from tests.support.hostile.corpus import corpus
from tests.support.hostile.file import HostileFile
from tests.support.hostile.models import hostile_models
from tests.support.hostile.originals import originals
from tests.support.hostile_costs import AROUND, CPU_SECONDS, SHARES, Row, table
from tests.support.measured import Measured, measure
from worker.config.settings import ModelSettings
from worker.errors import CutworkError
from worker.models.engines.load import make_loader
from worker.models.files.file_cache import FileCache
from worker.models.files.profile import Profile
from worker.models.files.store import ModelFile
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.cutout import cut_out
from worker.pipeline.factory import open_models, open_store
from worker.pipeline.limits import Limits
from worker.pipeline.malloc import fix_mmap_threshold
from worker.pipeline.memory_budget import Reservation
from worker.pipeline.recipe import Recipe
from worker.pipeline.segment import Models

OUT: Final = Path("hostile-out")
MEMORY: Final = 16 * 2**30
"""`CUTWORK_IMAGE_MEMORY`: so much that no file is refused for its estimate."""
WAYS: Final[Mapping[str, Options]] = {
    "8-bit": Options(enabled=False),
    "16-bit": Options(enabled=False, bit_depth=16),
    "WebP": Options(enabled=False, image_format="webp", mask_format="webp"),
}
"""How pictures pass through; models are loaded and run once."""
MODEL: Final = "model"
"""The way of models."""


class _Copied:
    """A source whose bytes are memory of its own, as those of a fetched object are."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def read(self) -> bytes:
        return self._data.tobytes()


class _Recorded(Reservation):
    """A reservation that remembers the memory estimate."""

    estimate = 0

    def acquire(self, size: int) -> None:
        self.estimate = size
        super().acquire(size)


def rows(files: Sequence[HostileFile], way: str) -> Iterator[Row]:
    """Yield what each file costs in one way."""
    if way == MODEL:
        costs = measure([partial(load_model, file) for file in files], warm_up=_warm_up_models)
    else:
        works = [partial(pass_through, file.data, WAYS[way]) for file in files]
        costs = measure(works, warm_up=_warm_up)
    for file, cost in zip(files, costs, strict=True):
        yield _row(file, way, cost)


def load_model(file: HostileFile) -> tuple[str, int]:
    """Load a model on a CPU and run it once; return how it ended, and the bytes that it counts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file.name.rpartition("/")[2]
        path.write_bytes(file.data)
        own = ModelFile(name="own", path=path, sha256=path.stem, profile=Profile())
        cache = FileCache(Path(folder) / "cache")
        load = make_loader(threads=1, file_cache=cache, own_engine=True)
        try:
            engine = load(own, "cpu")
            engine.infer(np.zeros((1, 3, 32, 32), np.float32))
        except CutworkError as error:
            return error.code, 0
        except Exception as error:  # noqa: BLE001 - a bug is a row too
            return f"internal_error ({type(error).__name__})", 0
    return "done", engine.bytes


def pass_through(data: bytes, options: Options) -> tuple[str, int]:
    """Decode and encode a file; return how it ended, and its memory estimate."""
    settings = ModelSettings.read()
    limits = Limits.of(
        max_pixels=settings.max_pixels,
        max_matted_pixels=settings.max_matted_pixels,
        matting_seconds=settings.matting_seconds,
        memory=MEMORY,
    )
    reservation = _Recorded(limits.image_memory)
    try:
        cut_out(
            _Copied(data),
            Recipe.resolve(options, file=None),
            length=len(data),
            models=_models(),
            limits=limits,
            reservation=reservation,
            watch=Stopwatch(),
        )
    except CutworkError as error:
        return error.code, reservation.estimate
    except Exception as error:  # noqa: BLE001 - a bug is a row too
        return f"internal_error ({type(error).__name__})", reservation.estimate
    return "done", reservation.estimate


@cache
def _models() -> Models:
    settings = ModelSettings.read()
    return open_models(settings, open_store(settings))


def _warm_up() -> None:
    """Set the process up as a worker is, and load what the first file of a format loads."""
    logging.basicConfig(level=logging.INFO)
    fix_mmap_threshold()
    for data in originals().values():
        for options in WAYS.values():
            ends, _ = pass_through(data, options)
            if ends != "done":
                raise RuntimeError(f"expected an ordinary file to be done, found {ends}")


def _warm_up_models() -> None:
    """Load the libraries, with the first model of each kind."""
    logging.basicConfig(level=logging.INFO)
    fix_mmap_threshold()
    for kind in ("onnx", "checkpoint"):
        load_model(next(file for file in hostile_models() if _kind(file) == kind))


def _kind(file: HostileFile) -> str:
    return file.name.partition("/")[0]


def _row(file: HostileFile, way: str, cost: Measured) -> Row:
    ends, estimate = cost.result or ("killed", 0)
    return Row(
        kind=_kind(file),
        file=file.name,
        way=way,
        ends=ends,
        source_bytes=len(file.data),
        share_bytes=len(file.data) + estimate,
        cpu_seconds=round(cost.cpu_seconds, 3),
        peak_bytes=cost.peak_bytes,
        log_bytes=cost.log_bytes,
    )


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table and write the rows; return 1 if a file exceeds a bound."""
    kinds = sorted({_kind(file) for file in (*corpus(), *hostile_models())})
    parser = argparse.ArgumentParser(prog="make hostile ARGS=", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"from {', '.join(kinds)}")
    parser.add_argument("--way", choices=[*WAYS, MODEL], action="append", help="default: all")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.kinds) - set(kinds):
        parser.error(f"expected kinds of {', '.join(kinds)}, found {', '.join(sorted(unknown))}")
    found: list[Row] = []
    for way in chosen.way or [*WAYS, MODEL]:
        every = hostile_models() if way == MODEL else corpus()
        files = [file for file in every if _kind(file) in (chosen.kinds or kinds)]
        if files:
            progress = Console(stderr=True)
            measured = rows(files, way)
            found.extend(track(measured, f"measuring, {way}", total=len(files), console=progress))
            _write(found, chosen.out)
    missed = [row for row in found if row.faults]
    print(table(found))
    for row in missed:
        print(f"{', '.join(row.faults)}: {row}")
    print(f"{len({row.file for row in found})} files, {len(missed)} beyond a bound")
    return 1 if missed else 0


def _write(found: Sequence[Row], folder: Path) -> None:
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "make hostile",
        "machine": machine(),
        "bounds": {"cpu_seconds": CPU_SECONDS, "shares": SHARES, "around": AROUND},
        "rows": [row._asdict() for row in found],
    }
    folder.mkdir(exist_ok=True)
    (folder / "hostile.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
