"""`make chaos`: play every fault twenty times and print a table of what happened to the images.

`make chaos ARGS='stopped s3-500 --rounds 3'` plays some of them; `--list` names all. `--json`
prints one JSON object per line and `--markdown` the table of docs/evidence/chaos.md. The exit
status is 1 if any image was lost.
"""

import argparse
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.system.chaos import table
from tests.system.chaos.catalogue import FAULTS
from tests.system.chaos.cluster import Cluster
from tests.system.chaos.rounds import Fault, rounds


def main() -> None:
    """Play the given faults, each on servers of its own."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="FAULT", help="all by default")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--at-once", type=int, default=3, metavar="N", help="faults played in parallel"
    )
    parser.add_argument("--list", action="store_true")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(FAULTS):
        sys.exit(f"expected some of {', '.join(FAULTS)}, found {', '.join(sorted(unknown))}")
    if arguments.list:
        sys.exit("\n".join(f"{name:30}{fault.what}" for name, fault in FAULTS.items()))
    columns = (TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn())
    bars = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))
    # A round waits most of its time, for timeouts and redeliveries.
    with bars, ThreadPoolExecutor(arguments.at_once) as threads:
        play = partial(_play_fault, count=arguments.rounds, bars=bars)
        rows = list(threads.map(play, [FAULTS[name] for name in arguments.names or FAULTS]))
    if arguments.json:
        print(table.as_json(rows))
    elif arguments.markdown:
        print(table.markdown(rows))
    else:
        table.show(rows)
    sys.exit(0 if all(row.ok for row in rows) else 1)


def _play_fault(fault: Fault, *, count: int, bars: Progress) -> table.Row:
    done = []
    bar = bars.add_task(fault.name, total=min(count, fault.max_rounds or count))
    folder = Path(tempfile.mkdtemp(prefix=f"cutwork-chaos-{fault.name}-"))
    with Cluster(folder, fault.spec) as cluster:
        for one in rounds(fault, cluster, count=count):
            done.append(one)
            bars.advance(bar)
    bars.remove_task(bar)
    row = table.Row.of(fault, done)
    # All faults take half an hour: each result is printed as soon as it is known.
    verdict = "ok" if row.ok else "NOT OK"
    bars.console.print(f"{verdict:8}{' | '.join(row.cells())}", markup=False, soft_wrap=True)
    if row.ok:
        shutil.rmtree(folder)
    else:
        wrong = "".join(f"\n        {text}" for text in (*row.wrong, f"logs are in {folder}"))
        bars.console.print(wrong.lstrip("\n"), markup=False, soft_wrap=True)
    return row


if __name__ == "__main__":
    main()
