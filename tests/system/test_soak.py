"""Many jobs in a row: nothing is lost, and a worker's memory does not grow."""

from tests.system.chaos.one_round import OpenCluster, check_nothing_is_lost
from tests.system.chaos.soak import FAULTS, SHORT


def test_nothing_is_lost(open_cluster: OpenCluster) -> None:
    (soak,) = FAULTS
    check_nothing_is_lost(soak, open_cluster, items=SHORT)
