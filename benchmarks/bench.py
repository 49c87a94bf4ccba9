"""`make bench`: the overhead of Cutwork over the model, as figures with bounds.

`make bench ARGS='matting overhead'` measures some parts. It prints a table, and writes the figures
with all measured values, the machine and the versions to `bench-out/`.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.batch_cost import batch_cost
from benchmarks.encoders import encoders
from benchmarks.engine_cost import engines
from benchmarks.figure import Figure, markdown, show
from benchmarks.image_memory import twelve_at_once
from benchmarks.machine import machine
from benchmarks.matting_cost import matting_cost
from benchmarks.on_a_gpu import on_a_gpu
from benchmarks.queue_cost import overhead, scaling
from benchmarks.size_plot import against_size
from benchmarks.start_cost import start
from benchmarks.throughput import against_rembg, against_the_bare_model

OUT: Final = Path("bench-out")


PARTS: Final[Mapping[str, Callable[[], Sequence[Figure]]]] = {
    "bare": against_the_bare_model,
    "rembg": against_rembg,
    "sizes": lambda: against_size(OUT / "throughput.png"),
    "engines": engines,
    "batches": batch_cost,
    "gpu": on_a_gpu,
    "encoders": encoders,
    "matting": matting_cost,
    "overhead": overhead,
    "scaling": scaling,
    "memory": twelve_at_once,
    "start": start,
}


def main() -> None:
    """Measure the named parts, or all; exit with 1 if a bound is missed."""
    wanted = sys.argv[1:] or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        sys.exit(f"expected some of {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")
    OUT.mkdir(exist_ok=True)
    figures: list[Figure] = []
    console = Console(stderr=True)
    facts, now = machine(), datetime.now(UTC)
    for name in wanted:
        with console.status(f"measuring {name} …"):
            figures += PARTS[name]()
        # After each part, so that a failure loses nothing.
        report = {
            "date": now.isoformat(timespec="seconds"),
            "machine": facts,
            "figures": [figure.to_json() for figure in figures],
        }
        (OUT / "bench.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        (OUT / "bench.md").write_text(markdown(figures) + "\n")
    show(figures, title=f"{now:%d %B %Y}, " + ", ".join(f"{k} {v}" for k, v in facts.items()))
    console.print(f"wrote {OUT}/bench.json and {OUT}/bench.md")
    sys.exit(1 if any(figure.ok is False for figure in figures) else 0)


if __name__ == "__main__":
    main()
