"""Nothing is lost when the broker restarts, refuses or cannot be reached."""

import pytest

from tests.system.chaos.broker_faults import FAULTS
from tests.system.chaos.one_round import OpenCluster, check_nothing_is_lost
from tests.system.chaos.rounds import Fault

LONG_ONLY = ("broker-restarted-under-sync",)
"""Played by `make chaos` alone: `broker-restarted` is the same with single jobs."""


@pytest.mark.parametrize(
    "fault",
    [fault for fault in FAULTS if fault.name not in LONG_ONLY],
    ids=lambda fault: fault.name,
)
def test_nothing_is_lost(open_cluster: OpenCluster, fault: Fault) -> None:
    check_nothing_is_lost(fault, open_cluster)
