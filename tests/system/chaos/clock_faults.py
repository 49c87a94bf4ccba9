"""Faults of a worker's clock, which jumps while the worker runs."""

import time
from typing import Final

from tests.system.chaos.cluster import Cluster, ClusterSpec
from tests.system.chaos.load import Load
from tests.system.chaos.rounds import Fault
from tests.system.chaos.worker_faults import in_model

_CLOCK_DELAY_SECONDS: Final = 1.2
"""The time after which a worker has read its clock file again."""
_AHEAD: Final = "+600"
_BEHIND: Final = "-600"
"""Ten minutes; S3 rejects requests whose time is more than a quarter of an hour off."""
_CLOCKS: Final = ClusterSpec(clocks=True)


def _jump(cluster: Cluster, load: Load) -> None:
    """Set the clock of a busy worker ahead, back and right."""
    worker = cluster.workers[0]
    load.send()
    for shift in (_AHEAD, _BEHIND, "+0"):
        worker.clock.write_text(shift)
        time.sleep(_CLOCK_DELAY_SECONDS)


def _die_ahead(cluster: Cluster, load: Load) -> None:
    """Kill a worker whose clock is ten minutes ahead while it has unacknowledged deliveries."""
    worker = cluster.workers[0]
    worker.clock.write_text(_AHEAD)
    time.sleep(_CLOCK_DELAY_SECONDS)
    load.send()
    in_model(cluster, worker)
    cluster.kill(worker)


FAULTS: Final = (
    Fault(
        name="clock-jumps",
        what="a worker's clock jumps 10 minutes ahead, 20 back, and is set right",
        inject=_jump,
        spec=_CLOCKS,
        items=36,
    ),
    Fault(
        name="killed-clock-ahead",
        what="kill -9 of a worker whose clock is 10 minutes ahead",
        inject=_die_ahead,
        spec=_CLOCKS,
    ),
)
