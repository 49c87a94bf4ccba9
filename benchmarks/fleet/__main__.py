"""`make fleet`: 1,000 GPUs and 100 million images, simulated; a table, and a plot.

`make fleet ARGS='gpu_images=40 prefixes=4'` changes parameters. Writes `bench-out/fleet.md` and
`bench-out/fleet.png`.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.fleet.needs import Bill, advised
from benchmarks.fleet.parameters import Parameters
from benchmarks.fleet.plot import plot
from benchmarks.fleet.simulation import Steady, simulate

OUT: Final = Path("bench-out")
GPUS: Final = (1, 3, 10, 30, 100, 300, 1000)
RATES: Final = (10, 60)
"""Images a second of a GPU, besides the parameter's: what nobody has measured yet."""


def sweep(parameters: Parameters, *, gpus: Iterable[int]) -> list[Steady]:
    """One fleet after the other, of more and more GPUs."""
    return [simulate(replace(parameters, gpus=count)) for count in gpus]


def first_bottleneck(found: Sequence[Steady]) -> Steady | None:
    """The smallest fleet whose GPUs wait for something else a twentieth of the time."""
    return next((each for each in found if each.load["GPU"] < 0.95), None)


def columns(name: str, steady: Steady) -> str:
    """A row of the table."""
    p, bill = steady.parameters, Bill(steady)
    reads, writes = bill.requests_per_prefix
    busiest = steady.bottleneck
    cells = (
        name,
        f"{p.gpus:,.0f}",
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
    "| fleet | GPUs | images/s | GPUs busy | busiest | Redis operations/s, each "
    "| Redis memory, each | S3 reads / writes a second and prefix | hours "
    "| $: GPUs + Redis + S3 requests |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def table_of(parameters: Parameters) -> str:
    """What was reckoned with, and where it is from."""
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
    """Simulate, print, draw."""
    try:
        changed = {name: float(value) for name, value in (arg.split("=") for arg in sys.argv[1:])}
        parameters = Parameters.measured(**changed)
    except (TypeError, ValueError) as error:
        names = ", ".join(each.name for each in fields(Parameters))
        sys.exit(f"expected NAME=NUMBER, with NAME one of {names}; {error}")
    console, lines = Console(stderr=True), {}
    with console.status("simulating …"):
        as_it_is = f"{parameters.brokers:.0f} Redis, {parameters.prefixes:.0f} prefix"
        lines[as_it_is] = sweep(parameters, gpus=GPUS)
        good = advised(parameters)
        advice = (
            f"{good.brokers:.0f} Redis, {good.prefixes:.0f} prefixes, {good.cores:.0f} cores and "
            f"{good.threads:.0f} threads a GPU"
        )
        lines[advice] = [simulate(advised(replace(parameters, gpus=count))) for count in GPUS]
        others = {
            f"as advised, {rate} images/s a GPU": simulate(
                advised(replace(parameters, gpu_images=rate))
            )
            for rate in RATES
        }
    rows = [columns(name, each) for name, found in lines.items() for each in found]
    rows += [columns(name, each) for name, each in others.items()]
    bottleneck = first_bottleneck(lines[as_it_is])
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
