"""A worker whose clock is wrong, and is set right or more wrong while it works."""

import time
from typing import Final

from tests.system.chaos.ground import Ground, Terrain
from tests.system.chaos.load import Load
from tests.system.chaos.rounds import Fault
from tests.system.chaos.worker_faults import in_model

_HEEDED: Final = 1.2
"""Seconds after which a worker's clock is as wrong as it was told."""
_AHEAD: Final = "+600"
_BEHIND: Final = "-600"
"""Ten minutes; S3 itself refuses requests that are a quarter of an hour off."""
_CLOCKS: Final = Terrain(clocks=True)


def _jump(ground: Ground, load: Load) -> None:
    """Ahead, behind, right: the same worker, while it works."""
    worker = ground.workers[0]
    load.send()
    for shift in (_AHEAD, _BEHIND, "+0"):
        worker.clock.write_text(shift)
        time.sleep(_HEEDED)


def _die_ahead(ground: Ground, load: Load) -> None:
    """Killed while its clock is ahead: what it held is dated ten minutes from now."""
    worker = ground.workers[0]
    worker.clock.write_text(_AHEAD)
    time.sleep(_HEEDED)
    load.send()
    in_model(ground, worker)
    ground.kill(worker)


FAULTS: Final = (
    Fault(
        name="clock-jumps",
        what="a worker's clock jumps 10 minutes ahead, 20 back, and is set right",
        strike=_jump,
        terrain=_CLOCKS,
        items=36,
    ),
    Fault(
        name="killed-clock-ahead",
        what="kill -9 of a worker whose clock is 10 minutes ahead",
        strike=_die_ahead,
        terrain=_CLOCKS,
    ),
)
