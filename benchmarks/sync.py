"""`make bench-sync`: the performance of `cutwork sync` and its bounds, as a table.

`make bench-sync ARGS='planning killed'` measures some of it.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from rich.console import Console

from benchmarks import planning
from benchmarks.killed import killed
from benchmarks.overtaking import overtaking
from benchmarks.queue_memory import enqueueing, flat_memory
from benchmarks.table import Row, show
from benchmarks.whole_path import whole_path

PARTS: Final[Mapping[str, Callable[[], Sequence[Row]]]] = {
    "planning": planning.rows,
    "enqueueing": enqueueing,
    "memory": flat_memory,
    "killed": killed,
    "overtaking": overtaking,
    "photographs": whole_path,
}


def main() -> None:
    """Measure the named parts, or all; exit with 1 if a bound is missed."""
    wanted = sys.argv[1:] or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        sys.exit(f"expected some of {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    console = Console(stderr=True)
    for name in wanted:
        with console.status(f"measuring {name} …"):
            rows += PARTS[name]()
    show(rows)
    sys.exit(1 if any(row.ok is False for row in rows) else 0)


if __name__ == "__main__":
    main()
