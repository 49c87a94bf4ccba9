"""Many jobs in a row: nothing is lost, and the workers do not grow."""

from typing import Final

from tests.system.chaos.ground import Broken, Ground, Terrain
from tests.system.chaos.load import Load
from tests.system.chaos.rounds import Fault

JOBS: Final = 10_000
SHORT: Final = 300
"""As many as a test has time for."""
_WARM: Final = 0.2
"""Share of the jobs after which a worker has all it needs; of a few jobs, half."""
GROWTH: Final = 0.02
"""Share of its memory that a worker may gain afterwards."""


def _soak(ground: Ground, load: Load) -> None:
    before = ground.runs()
    jobs = len(load.items)
    warm_after = max(int(_WARM * jobs), min(SHORT, jobs) // 2)
    load.send()
    ground.until_runs(before + warm_after, timeout=600)
    warm = [worker.memory() for worker in ground.workers]
    load.wait(1800)
    for worker, at_first in zip(ground.workers, warm, strict=True):
        grown = worker.memory() / at_first - 1
        if grown > GROWTH:
            raise Broken(f"{worker.name} grew by {grown:.1%} from {at_first / 2**20:.0f} MiB")


FAULTS: Final = (
    Fault(
        name="soak",
        what=f"{JOBS:,} jobs in a row; memory grows less than {GROWTH:.0%}",
        strike=_soak,
        terrain=Terrain(
            workers=1,
            concurrency=4,
            variables=(
                ("CUTWORK_STANDIN_SECONDS", "0"),
                # As in production: looked for is what waits for longer than this.
                ("CUTWORK_VISIBILITY_TIMEOUT", "120"),
            ),
        ),
        items=JOBS,
        most=1,
    ),
)
