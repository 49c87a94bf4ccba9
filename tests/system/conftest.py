"""The grounds of the chaos tests, one per module and terrain."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.chaos.ground import Ground, Terrain

    OpenGround = Callable[[Terrain], Ground]


@pytest.fixture(scope="module")
def open_ground(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[OpenGround]":
    """Servers and workers of a terrain, shared by the module's faults that want the same."""
    from tests.system.chaos.ground import Ground

    grounds: dict[Terrain, Ground] = {}
    with ExitStack() as stack:

        def open_ground(terrain: "Terrain") -> "Ground":
            if terrain not in grounds:
                folder = tmp_path_factory.mktemp("chaos")
                grounds[terrain] = stack.enter_context(Ground(folder, terrain))
            return grounds[terrain]

        yield open_ground
