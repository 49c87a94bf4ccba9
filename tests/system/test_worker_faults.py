"""Nothing is lost when workers are killed, terminated or stopped."""

import pytest

from tests.system.chaos.one_round import OpenCluster, check_nothing_is_lost
from tests.system.chaos.rounds import Fault
from tests.system.chaos.worker_faults import FAULTS

LONG_ONLY = ("killed-under-sync",)
"""Played by `make chaos` alone: `killed-mid-model` is the same with single jobs."""


@pytest.mark.parametrize(
    "fault",
    [fault for fault in FAULTS if fault.name not in LONG_ONLY],
    ids=lambda fault: fault.name,
)
def test_nothing_is_lost(open_cluster: OpenCluster, fault: Fault) -> None:
    check_nothing_is_lost(fault, open_cluster)
