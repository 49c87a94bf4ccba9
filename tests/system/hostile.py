"""`make hostile`: what each hostile file costs, in processor time, memory and lines of log.

Every file passes through the pipeline without a model, in each of the ways of `WAYS`, in a process
of its own. Its share is what the worker sets apart for it: the bytes of the file and the memory
estimate. The table has the worst file of each kind; all rows go to `hostile-out/hostile.json`.
`make hostile ARGS='png tiff --way 16-bit'` measures some of them.
"""

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.progress import track

from benchmarks.machine import machine
from producer import Options
from tests.support.hostile.corpus import corpus
from tests.support.hostile.file import HostileFile
from tests.support.hostile.originals import originals
from tests.support.measured import Measured, measure
from worker.config.settings import ModelSettings
from worker.errors import CutworkError
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.cutout import cut_out
from worker.pipeline.factory import open_models, open_store
from worker.pipeline.limits import Limits
from worker.pipeline.malloc import fix_mmap_threshold
from worker.pipeline.memory_budget import Reservation
from worker.pipeline.recipe import Recipe
from worker.pipeline.segment import Models

OUT: Final = Path("hostile-out")
CPU_SECONDS: Final = 10
"""The largest processor time of a file."""
SHARES: Final = 1.5
AROUND: Final = 50_000_000
"""The largest memory of a file: so many of its shares, and so many bytes."""
LOG_BYTES: Final = 4_000
"""The largest log of a file."""
MEMORY: Final = 16 * 2**30
"""`CUTWORK_IMAGE_MEMORY`: so much that no file is refused for its estimate."""
WAYS: Final[Mapping[str, Options]] = {
    "8-bit": Options(enabled=False),
    "16-bit": Options(enabled=False, bit_depth=16),
    "WebP": Options(enabled=False, image_format="webp", mask_format="webp"),
}


class Row(NamedTuple):
    """What one file cost in one way."""

    kind: str
    file: str
    way: str
    ends: str
    """`done`, an error code, or `killed` if its process ended early."""
    source_bytes: int
    share_bytes: int
    """The bytes of the file and the memory estimate; without the latter if it was refused first."""
    cpu_seconds: float
    peak_bytes: int
    log_bytes: int

    @property
    def excess(self) -> float:
        """The peak memory relative to its bound."""
        return self.peak_bytes / (SHARES * self.share_bytes + AROUND)

    @property
    def faults(self) -> Sequence[str]:
        """The bounds that the file exceeds."""
        exceeded = {
            "processor time": self.ends == "killed" or self.cpu_seconds > CPU_SECONDS,
            "memory": self.excess > 1,
            "log": self.log_bytes > LOG_BYTES,
        }
        return [name for name, found in exceeded.items() if found]


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
    works = [partial(pass_through, file.data, WAYS[way]) for file in files]
    for file, cost in zip(files, measure(works, warm_up=_warm_up), strict=True):
        yield _row(file, way, cost)


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


def _row(file: HostileFile, way: str, cost: Measured) -> Row:
    ends, estimate = cost.result or ("killed", 0)
    return Row(
        kind=file.name.partition("/")[0],
        file=file.name,
        way=way,
        ends=ends,
        source_bytes=len(file.data),
        share_bytes=len(file.data) + estimate,
        cpu_seconds=round(cost.cpu_seconds, 3),
        peak_bytes=cost.peak_bytes,
        log_bytes=cost.log_bytes,
    )


def table(found: Sequence[Row]) -> str:
    """Return a Markdown table of the files of each kind that cost most."""
    lines = [
        "| kind | files | most processor time | most memory for its share | most log |",
        "|---|---:|---|---|---:|",
    ]
    by_kind = groupby(sorted(found), key=lambda row: row.kind)
    for kind, members in ((kind, list(group)) for kind, group in by_kind):
        slowest = max(members, key=lambda row: row.cpu_seconds)
        largest = max(members, key=lambda row: row.excess)
        files = len({row.file for row in members})
        log_bytes = max(row.log_bytes for row in members)
        bound = SHARES * largest.share_bytes + AROUND
        lines.append(
            f"| {kind} | {files} | {slowest.cpu_seconds:.2f} s, `{slowest.file}` | "
            f"{largest.peak_bytes / 1e6:.0f} of {bound / 1e6:.0f} MB, `{largest.file}` | "
            f"{log_bytes:,} B |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table and write the rows; return 1 if a file exceeds a bound."""
    kinds = sorted({file.name.partition("/")[0] for file in corpus()})
    parser = argparse.ArgumentParser(prog="make hostile ARGS=", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"from {', '.join(kinds)}")
    parser.add_argument("--way", choices=WAYS, action="append", help="default: all")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.kinds) - set(kinds):
        parser.error(f"expected kinds of {', '.join(kinds)}, found {', '.join(sorted(unknown))}")
    files = [file for file in corpus() if file.name.partition("/")[0] in (chosen.kinds or kinds)]
    found: list[Row] = []
    for way in chosen.way or WAYS:
        measured = track(
            rows(files, way), f"measuring, {way}", total=len(files), console=Console(stderr=True)
        )
        found.extend(measured)
    missed = [row for row in found if row.faults]
    _write(found, chosen.out)
    print(table(found))
    for row in missed:
        print(f"{', '.join(row.faults)}: {row}")
    print(f"{len(files)} files, {len(missed)} beyond a bound")
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
