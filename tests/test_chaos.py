"""One short round of every fault; `make chaos` plays twenty, and prints what was found."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.chaos.catalogue import FAULTS
from tests.chaos.ground import Ground, Terrain
from tests.chaos.rounds import rounds
from tests.chaos.soak import SHORT

NOT_YET: tuple[str, ...] = (
    # What only a sweep in every worker, or a count of deliveries, mends.
    "connections-reset-busy",
    "black-hole-idle",
    "black-hole-busy",
    "delivery-lost",
    "poison",
    "killed-clock-ahead",
)
_ITEMS = {"soak": SHORT}

OpenGround = Callable[[Terrain], Ground]


@pytest.fixture(scope="module")
def ground_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenGround]:
    """Servers and workers of a terrain, shared by the faults that want the same."""
    grounds: dict[Terrain, Ground] = {}
    with ExitStack() as held:

        def ground_of(terrain: Terrain) -> Ground:
            if terrain not in grounds:
                folder = tmp_path_factory.mktemp("chaos")
                grounds[terrain] = held.enter_context(Ground(folder, terrain))
            return grounds[terrain]

        yield ground_of


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in NOT_YET])
def test_nothing_is_lost(ground_of: OpenGround, name: str) -> None:
    fault = FAULTS[name]
    short = replace(fault, items=_ITEMS.get(name, min(fault.items, 8)))
    (found,) = rounds(short, ground_of(fault.terrain), count=1)
    assert found.wrong == ()
    assert (found.valid, found.invalid, found.lost) == (short.items, 0, 0)
