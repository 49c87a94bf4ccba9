"""`make fleet`: simulate 1,000 GPUs and 100 million images; print a table and draw a plot.

`make fleet ARGS='gpu_images=40 prefixes=4'` changes parameters. Writes `bench-out/fleet.md` and
`bench-out/fleet.png`.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.fleet.needs import Bill, advised
from benchmarks.fleet.parameters import Parameters
from benchmarks.fleet.plot import plot
from benchmarks.fleet.simulation import Steady, simulate

OUT: Final = Path("bench-out")
GPUS: Final = (1, 10, 30, 40, 50, 100, 300, 1000)
RATES: Final = (10, 60)
"""Further values for the images per second of a GPU, which is not measured yet."""


def sweep(
    parameters: Parameters, design: Callable[[Parameters], Parameters], *, gpus: Iterable[int]
) -> list[Steady]:
    """Simulate fleets with a growing number of GPUs, each built by `design`."""
    return [simulate(design(replace(parameters, gpus=count))) for count in gpus]


def first_bottleneck(fleets: Sequence[Steady]) -> Steady | None:
    """Return the smallest fleet whose GPUs wait at least a twentieth of the time."""
    return next((each for each in fleets if each.load["GPU"] < 0.95), None)


def row(steady: Steady) -> str:
    """Return a row of the table."""
    p, bill = steady.parameters, Bill(steady)
    reads, writes = bill.requests_per_prefix
    busiest = steady.bottleneck
    cells = (
        f"{p.gpus:,.0f} × {p.gpu_images:g}",
        f"{p.brokers:.0f}, {p.prefixes:.0f}, {p.cores:.0f}, {p.threads:.0f}",
        f"{steady.images_per_second:,.0f}",
        f"{steady.load['GPU']:.0%}",
        f"{busiest} {steady.load[busiest]:.0%}",
        f"{bill.redis_operations / p.brokers:,.0f}",
        f"{bill.redis_bytes / 1e6:,.0f} MB",
        f"{reads:,.0f} / {writes:,.0f}",
        f"{bill.hours:,.1f}",
        " + ".join(f"{dollars:,.0f}" for dollars in bill.dollars.values()),
    )
    return "| " + " | ".join(cells) + " |"


HEAD: Final = (
    "| GPUs × images/s | Redis, prefixes, cores, threads | images/s | GPUs busy | busiest "
    "| Redis operations/s, each "
    "| Redis memory, each | S3 reads / writes per second and prefix | hours "
    "| $: GPUs + Redis + S3 requests |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def table_of(parameters: Parameters) -> str:
    """Return the parameters and their sources as a table."""
    lines = ["| parameter | value | | from |", "|---|---|---|---|"]
    for each in fields(parameters):
        value = getattr(parameters, each.name)
        facts = each.metadata
        lines.append(
            f"| `{each.name}` | {value:.4g} | {facts['unit']} | {facts['source']}: {facts['why']} |"
            if value < 1000
            else f"| `{each.name}` | {value:,.0f} | {facts['unit']} | "
            f"{facts['source']}: {facts['why']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Simulate the fleets, print the table and draw the plot."""
    try:
        changed = {name: float(value) for name, value in (arg.split("=") for arg in sys.argv[1:])}
        parameters = Parameters.measured(**changed)
    except (TypeError, ValueError) as error:
        names = ", ".join(each.name for each in fields(Parameters))
        sys.exit(f"expected NAME=NUMBER, with NAME one of {names}; {error}")
    designs: dict[str, Callable[[Parameters], Parameters]] = {
        "as it is": lambda fleet: fleet,
        "as advised": advised,
    }
    with Console(stderr=True).status("simulating …"):
        lines = {name: sweep(parameters, design, gpus=GPUS) for name, design in designs.items()}
        others = [simulate(advised(replace(parameters, gpu_images=rate))) for rate in RATES]
    rows = [row(each) for fleets in (*lines.values(), others) for each in fleets]
    bottleneck = first_bottleneck(lines["as it is"])
    sentence = (
        "No bottleneck but the GPUs."
        if bottleneck is None
        else f"First bottleneck as it is: {bottleneck.bottleneck}, at "
        f"{bottleneck.parameters.gpus:,.0f} GPUs."
    )
    text = "\n\n".join((f"{HEAD}\n" + "\n".join(rows), sentence, table_of(parameters)))
    OUT.mkdir(exist_ok=True)
    (OUT / "fleet.md").write_text(text + "\n")
    plot(OUT / "fleet.png", lines)
    print(text)


if __name__ == "__main__":
    main()
