"""A plot of images, Redis operations and S3 requests per second by GPUs, with limits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fleet.needs import Bill
from benchmarks.fleet.simulation import Steady

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#e15759", "#4e79a7", "#59a14f", "#f28e2b", "#b07aa1")


def plot(target: Path, lines: Mapping[str, Sequence[Steady]]) -> None:
    """Draw one line per design of a fleet and save a PNG."""
    # The reference of the pages needs the table of this package, but no plot.
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    page = Figure(figsize=(12, 4.2), layout="constrained")
    images, redis, s3 = page.subplots(1, 3)
    first = next(iter(lines.values()))[0].parameters
    for colour, (name, fleets) in zip(_COLOURS, lines.items(), strict=False):
        gpus = [each.parameters.gpus for each in fleets]
        bills = [Bill(each) for each in fleets]
        images.plot(
            gpus, [each.images_per_second for each in fleets], "o-", color=colour, label=name
        )
        redis.plot(
            gpus,
            [bill.redis_operations / bill.steady.parameters.brokers for bill in bills],
            "o-",
            color=colour,
        )
        s3.plot(gpus, [bill.requests_per_prefix[1] for bill in bills], "o-", color=colour)
        s3.plot(gpus, [bill.requests_per_prefix[0] for bill in bills], "o:", color=colour)
    redis_limit = first.commands / (first.submit_seconds + first.work_seconds)
    _limit(redis, redis_limit, f"one thread of Redis, {redis_limit:,.0f}/s as measured")
    _limit(s3, first.write_limit, f"writes of a prefix, {first.write_limit:,.0f}/s")
    _limit(s3, first.read_limit, f"reads of a prefix, {first.read_limit:,.0f}/s")
    _limit(images, first.feed_rate, f"one `cutwork sync`, {first.feed_rate:,.0f}/s")
    for axes, title in (
        (images, "images per second"),
        (redis, "Redis operations per second and broker"),
        (s3, "S3 requests per second and prefix"),
    ):
        axes.set(xscale="log", yscale="log", xlabel="GPUs")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title(title, fontsize=10)
        axes.grid(visible=True, which="major", alpha=0.25)
    s3.set_xlabel("GPUs; — writes, ··· reads")
    images.legend(frameon=False, fontsize=8, loc="lower right")
    page.savefig(target, dpi=110)


def _limit(axes: "Axes", height: float, text: str) -> None:
    axes.axhline(height, color="#777777", linestyle="--", linewidth=1)
    axes.annotate(text, (0.02, height), xycoords=("axes fraction", "data"), va="bottom", fontsize=7)
