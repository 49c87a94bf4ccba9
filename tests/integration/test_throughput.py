"""The throughput of each queue, as the ledger stores it."""

import math
import random

import pytest

from producer import Client
from producer.store.throughput import ThroughputStore


@pytest.fixture
def rates(idle: Client) -> ThroughputStore:
    return ThroughputStore(idle.runs.server)


def test_the_mean_of_many_workers_is_that_of_one(rates: ThroughputStore) -> None:
    draw = random.Random(7)
    for _ in range(300):
        rates.add("a", images=draw.randrange(8, 13), seconds=5)
    assert rates.read(["a", "b"]) == {"a": pytest.approx(2, rel=0.1)}


def test_older_work_counts_less(rates: ThroughputStore) -> None:
    rates.add("a", images=1200, seconds=120)
    rates.add("a", images=120, seconds=120)
    fading = math.exp(-1)
    assert rates.read(["a"])["a"] == pytest.approx((120 + 1200 * fading) / (120 + 120 * fading))


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "1", "1 0", "nan nan", "inf 1", "1 inf", "-1 1", "1 -1", "1 2 3", "0 1"),
        *("1e-9 1e11", "1e11 1", "1e11 1e11", "3 1e9", "1e-9 1", "1e300 1e-300", "1 1e-320"),
    ],
)
def test_an_invalid_rate_is_ignored_and_replaced(
    idle: Client, rates: ThroughputStore, text: str
) -> None:
    idle.runs.server.hset("cutwork:rates", "a", text)
    assert rates.read(["a"]) == {}
    rates.add("a", images=10, seconds=5)
    assert rates.read(["a"]) == {"a": 2}


def test_a_key_of_another_type_is_replaced(idle: Client, rates: ThroughputStore) -> None:
    idle.runs.server.set("cutwork:rates", "x")
    assert rates.read(["a"]) == {}
    rates.add("a", images=10, seconds=5)
    assert rates.read(["a"]) == {"a": 2}
