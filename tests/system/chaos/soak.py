"""Many jobs in a row: none is lost, and a worker's memory does not grow."""

from typing import Final

from tests.system.chaos.cluster import Cluster, ClusterSpec, UnexpectedState
from tests.system.chaos.load import Load
from tests.system.chaos.rounds import Fault

JOBS: Final = 10_000
SHORT: Final = 300
"""The number of jobs in the test suite."""
_WARM: Final = 0.2
"""The share of the jobs that warm a worker up; of a few jobs, half."""
GROWTH: Final = 0.02
"""The largest relative growth of a worker's memory after that."""


def _soak(cluster: Cluster, load: Load) -> None:
    before = cluster.runs()
    jobs = len(load.items)
    warm_after = max(int(_WARM * jobs), min(SHORT, jobs) // 2)
    load.send()
    cluster.until_runs(before + warm_after, timeout=600)
    warm = [worker.memory() for worker in cluster.workers]
    load.wait(1800)
    for worker, at_first in zip(cluster.workers, warm, strict=True):
        grown = worker.memory() / at_first - 1
        if grown > GROWTH:
            raise UnexpectedState(
                f"{worker.name} grew by {grown:.1%} from {at_first / 2**20:.0f} MiB"
            )


FAULTS: Final = (
    Fault(
        name="soak",
        what=f"{JOBS:,} jobs in a row; memory grows less than {GROWTH:.0%}",
        inject=_soak,
        spec=ClusterSpec(
            workers=1,
            concurrency=4,
            variables=(
                ("CUTWORK_STANDIN_SECONDS", "0"),
                # As in production; recovery checks jobs that are older.
                ("CUTWORK_VISIBILITY_TIMEOUT", "120"),
            ),
        ),
        items=JOBS,
        max_rounds=1,
    ),
)
