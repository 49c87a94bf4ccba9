"""Play rounds of a fault while images are in flight, and check the outcomes and outputs."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from producer import BrokerUnavailable
from tests.system.chaos import outputs
from tests.system.chaos.cluster import PLAIN, Cluster, ClusterSpec, UnexpectedState
from tests.system.chaos.load import Load, Singles, Synced

Injector = Callable[[Cluster, Any], None]
"""Sends the load and injects the fault while jobs run; returns when the fault is over."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault: one row of the table."""

    name: str
    what: str
    inject: Injector
    spec: ClusterSpec = PLAIN
    by: Literal["single", "sync"] = "single"
    items: int = 12
    patience: float = 45
    """The seconds after the fault in which every image must get its outcome; else it is lost."""
    max_rounds: int | None = None
    """The largest number of rounds, for a fault whose rounds take minutes."""
    options: tuple[tuple[str, str], ...] = ()
    """Options of the jobs; `{prefix}` in a value becomes the prefix of the round."""


class Round(NamedTuple):
    """The result of one round."""

    items: int
    valid: int
    invalid: int
    lost: int
    """Images without an outcome in time, with an error, or without valid outputs."""
    twice: int
    """Runs of the model beyond one per image."""
    seconds: float
    """The time from the end of the fault to the last outcome."""
    wrong: tuple[str, ...]
    """Anything else that was unexpected, as sentences."""


def rounds(fault: Fault, cluster: Cluster, *, count: int) -> Iterator[Round]:
    """Play `count` rounds of the fault on a cluster of its specification."""
    for number in range(min(count, fault.max_rounds or count)):
        cluster.wait_for_workers()
        prefix = f"{fault.name}/{number}"
        if fault.by == "sync":
            load: Load = Synced.of(cluster, prefix, fault.items)
        else:
            options = {name: value.format(prefix=prefix) for name, value in fault.options}
            load = Singles.of(cluster, prefix, fault.items, **options)
        yield _play_round(fault, cluster, load)


def _play_round(fault: Fault, cluster: Cluster, load: Load) -> Round:
    before = cluster.runs()
    wrong: list[str] = []
    cluster.fault_end = None
    try:
        fault.inject(cluster, load)
    except (UnexpectedState, BrokerUnavailable) as error:
        wrong.append(f"{type(error).__name__}: {error}")
    fault_end = cluster.fault_end or time.monotonic()
    results = load.wait(fault.patience)
    seconds = time.monotonic() - fault_end
    cluster.settle()
    states = outputs.states(cluster.s3, load.items)
    done = [
        results.get(item.image) == "ok" and state == "valid"
        for item, state in zip(load.items, states, strict=True)
    ]
    codes = sorted({code for code in results.values() if code != "ok"})
    silent = sum(item.image not in results for item in load.items)
    wrong += [f"outcomes: {', '.join(codes)}"] if codes else []
    wrong += [f"{silent} without an outcome"] if silent else []
    wrong += cluster.unexpected_states()
    return Round(
        items=len(load.items),
        valid=states.count("valid"),
        invalid=states.count("invalid"),
        lost=done.count(False),
        twice=max(0, cluster.runs() - before - len(load.items)),
        seconds=seconds,
        wrong=tuple(wrong),
    )
