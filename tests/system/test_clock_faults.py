"""Nothing is lost when the clock of a worker jumps."""

import pytest

from tests.system.chaos.clock_faults import FAULTS
from tests.system.chaos.one_round import OpenCluster, check_nothing_is_lost
from tests.system.chaos.rounds import Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_nothing_is_lost(open_cluster: OpenCluster, fault: Fault) -> None:
    check_nothing_is_lost(fault, open_cluster)
