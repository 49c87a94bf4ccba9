"""A fault, struck round after round while images are on their way, and what was found."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from producer import BrokerUnavailable
from tests.system.chaos import outputs
from tests.system.chaos.ground import PLAIN, Broken, Ground, Terrain
from tests.system.chaos.load import Load, Singles, Synced

Strike = Callable[[Ground, Any], None]
"""Sends the load and makes the fault while it is worked on; returns when the fault is over."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row of the table."""

    name: str
    what: str
    strike: Strike
    terrain: Terrain = PLAIN
    by: Literal["single", "sync"] = "single"
    items: int = 12
    patience: float = 45
    """Seconds after the fault within which every image has its outcome, or is lost."""
    most: int | None = None
    """Rounds that are enough of it, where one takes minutes."""
    options: tuple[tuple[str, str], ...] = ()
    """Of the jobs; `{prefix}` in a value is the round's own."""


class Round(NamedTuple):
    """What one round of a fault left."""

    items: int
    valid: int
    invalid: int
    lost: int
    """Without an outcome in time, or with an error, or without its outputs."""
    twice: int
    """Runs of the model beyond one for each item."""
    seconds: float
    """From the end of the fault to the last outcome."""
    wrong: tuple[str, ...]
    """What else was not as it should be."""


def rounds(fault: Fault, ground: Ground, *, count: int) -> Iterator[Round]:
    """Play the fault so many times on a ground of its terrain."""
    for number in range(min(count, fault.most or count)):
        ground.wait_for_workers()
        prefix = f"{fault.name}/{number}"
        if fault.by == "sync":
            load: Load = Synced.of(ground, prefix, fault.items)
        else:
            options = {name: value.format(prefix=prefix) for name, value in fault.options}
            load = Singles.of(ground, prefix, fault.items, **options)
        yield _play(fault, ground, load)


def _play(fault: Fault, ground: Ground, load: Load) -> Round:
    before = ground.runs()
    wrong: list[str] = []
    ground.over = None
    try:
        fault.strike(ground, load)
    except (Broken, BrokerUnavailable) as error:
        wrong.append(f"{type(error).__name__}: {error}")
    over = ground.over or time.monotonic()
    found = load.wait(fault.patience)
    seconds = time.monotonic() - over
    ground.settle()
    states = outputs.states(ground.s3, load.items)
    done = [
        found.get(item.image) == "ok" and state == "valid"
        for item, state in zip(load.items, states, strict=True)
    ]
    codes = sorted({code for code in found.values() if code != "ok"})
    silent = sum(item.image not in found for item in load.items)
    wrong += [f"outcomes: {', '.join(codes)}"] if codes else []
    wrong += [f"{silent} without an outcome"] if silent else []
    wrong += ground.broken()
    return Round(
        items=len(load.items),
        valid=states.count("valid"),
        invalid=states.count("invalid"),
        lost=done.count(False),
        twice=max(0, ground.runs() - before - len(load.items)),
        seconds=seconds,
        wrong=tuple(wrong),
    )
