"""One short round of every fault; `make chaos` plays twenty, and prints what was found."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from producer import Outcome
from tests.support.patience import PATIENCE
from tests.system.chaos.catalogue import FAULTS
from tests.system.chaos.ground import PLAIN, Ground, Terrain
from tests.system.chaos.load import Singles
from tests.system.chaos.rounds import rounds
from tests.system.chaos.s3_proxy import Claim, Refuse, S3Proxy
from tests.system.chaos.soak import SHORT

LONG_ONLY: tuple[str, ...] = (
    # Each has a twin among the single jobs; `make chaos` plays both.
    "killed-under-sync",
    "broker-restarted-under-sync",
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


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in LONG_ONLY])
def test_nothing_is_lost(ground_of: OpenGround, name: str) -> None:
    fault = FAULTS[name]
    short = replace(fault, items=_ITEMS.get(name, min(fault.items, 8)))
    (found,) = rounds(short, ground_of(fault.terrain), count=1)
    assert found.wrong == ()
    assert (found.valid, found.invalid, found.lost) == (short.items, 0, 0)


def test_a_redirect_of_s3_is_not_followed(ground_of: OpenGround) -> None:
    ground = ground_of(PLAIN)
    away = ("Location", "http://127.0.0.1:{}/photos/in/000000.jpg")
    with (
        S3Proxy(ground.store.target) as elsewhere,
        elsewhere.failing(Refuse(500, "InternalError"), "GET", "HEAD") as asked,
        ground.store.failing(
            Refuse(307, "TemporaryRedirect", ((away[0], away[1].format(elsewhere.port)),)),
            "GET",
            place="photos",
        ) as struck,
    ):
        outcome = _first(ground, "redirected")
    assert (outcome.code, asked.struck) == ("storage_refused", 0)
    assert struck.struck == 1


def test_an_answer_of_two_gigabytes_is_not_read(ground_of: OpenGround) -> None:
    ground = ground_of(PLAIN)
    with ground.store.failing(Claim(2 * 2**30), "GET", place="photos"):
        outcome = _first(ground, "claimed")
    assert outcome.code == "source_too_large"
    assert "found 2,147,483,648" in (outcome.message or "")


def _first(ground: Ground, prefix: str) -> Outcome:
    load = Singles.of(ground, prefix, 1)
    load.send()
    return load.handles[0].wait(PATIENCE)
