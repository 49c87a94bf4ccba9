"""One short round of a fault, as the tests play it; `make chaos` plays twenty long ones."""

from collections.abc import Callable
from dataclasses import replace

from tests.support.patience import PATIENCE
from tests.system.chaos.cluster import Cluster, ClusterSpec
from tests.system.chaos.rounds import Fault, rounds

OpenCluster = Callable[[ClusterSpec], Cluster]


def check_nothing_is_lost(fault: Fault, open_cluster: OpenCluster, *, items: int = 8) -> None:
    """Play a round with at most `items` images and assert that each has its valid outputs."""
    short_fault = replace(fault, items=min(fault.items, items), patience=PATIENCE)
    (played,) = rounds(short_fault, open_cluster(fault.spec), count=1)
    assert played.wrong == ()
    assert (played.valid, played.invalid, played.lost) == (short_fault.items, 0, 0)
