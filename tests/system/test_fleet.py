"""The simulated fleet is as fast as its bottleneck, and its parameters have sources."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from benchmarks.fleet.__main__ import first_bottleneck, sweep
from benchmarks.fleet.needs import Bill, advised
from benchmarks.fleet.parameters import Parameters
from benchmarks.fleet.plot import plot
from benchmarks.fleet.simulation import simulate
from benchmarks.job_cost import measure

P = Parameters.measured()


def test_a_small_fleet_is_as_fast_as_its_gpus() -> None:
    steady = simulate(replace(P, gpus=4))
    assert steady.images_per_second == pytest.approx(4 * P.gpu_images, rel=0.03)
    assert steady.bottleneck == "GPU"


@pytest.mark.parametrize(
    ("change", "limit", "name"),
    [
        ({}, 1 / (P.submit_seconds + P.work_seconds), "Redis"),
        ({"brokers": 3}, P.write_limit / P.writes, "S3 writes"),
        ({"brokers": 2, "prefixes": 2, "cores": 1}, 100 / P.host_seconds, "host cores"),
        ({"work_seconds": 0, "prefixes": 8, "feed_rate": 500}, 500, "cutwork sync"),
    ],
)
def test_a_large_fleet_is_as_fast_as_its_bottleneck(
    change: dict[str, float], limit: float, name: str
) -> None:
    steady = simulate(replace(P, **{"gpus": 100, "threads": 32, "gpu_images": 40} | change))
    assert steady.images_per_second == pytest.approx(limit, rel=0.05)
    assert steady.bottleneck == name


def test_the_advised_fleet_keeps_its_gpus_busy() -> None:
    good = advised(replace(P, gpus=60, gpu_images=60))
    assert good.brokers > 1
    assert good.prefixes > 1
    assert simulate(good).load["GPU"] > 0.95


def test_the_first_bottleneck_is_the_first_fleet_that_waits(tmp_path: Path) -> None:
    fleets = sweep(P, lambda fleet: fleet, gpus=(1, 100))
    assert first_bottleneck(fleets) is fleets[1]
    plot(tmp_path / "fleet.png", {"as it is": fleets})
    assert (tmp_path / "fleet.png").stat().st_size > 10_000


def test_the_bill_of_all_images() -> None:
    bill = Bill(simulate(replace(P, gpus=4, images=1e6)))
    assert bill.hours == pytest.approx(1e6 / 100 / 3600, rel=0.03)
    assert bill.dollars["GPUs"] == pytest.approx(bill.hours * 4 * P.gpu_price)
    assert bill.redis_operations == pytest.approx(100 * P.commands, rel=0.03)


def test_every_parameter_has_a_source() -> None:
    for each in fields(Parameters):
        assert each.metadata["source"] in ("measured", "documented", "assumed", "chosen")
        if each.metadata["source"] == "measured":
            assert getattr(P, each.name) > 0, f"{each.name}: expected a stored measurement"


def test_a_job_costs_what_was_stored() -> None:
    """Real servers see the stored numbers of S3 requests, and one message per job."""
    cost = measure(jobs=20, workers=1, threads=2, idle=2)
    assert sum(cost.s3.values()) == P.reads + P.writes
    assert cost.s3["PutObject"] == P.writes
    assert cost.commands["lpush"] == 1
    assert sum(cost.commands.values()) > 20
    assert min(cost.waiting_bytes, cost.in_flight_bytes, cost.connection_bytes) > 500
