"""`make scale-test`: scale a pool from zero to eight workers and back with 2,000 jobs.

Time runs twenty times as fast as in a cluster: a minute there is three seconds here, so that hours
fit into minutes. Machines are pre-empted ten times as often as 5 % per hour, which is already a bad
rate for spot machines: AWS's Spot Instance Advisor publishes 5 to 20 % per month. Their notice is
at most 30 s, as on Google Cloud and Azure.
"""

import random
import sys
from pathlib import Path
from typing import Final

from benchmarks.scale.plot import plot
from benchmarks.scale.pool import spot
from benchmarks.scale.rows import rows
from benchmarks.scale.scaler import Policy
from benchmarks.scale.trial import Setting, run_trial
from benchmarks.table import show

_SPEED_UP: Final = 20
_BAD_RATE_PER_HOUR: Final = 0.05
_RATE_FACTOR: Final = 10
_SEED: Final = 7
_PLOT: Final = Path("docs") / "scale-test.png"


def main() -> None:
    """Run the trial; exit with 1 if a job is lost or the pool does not return to zero."""
    setting = Setting(
        jobs=2000,
        image_seconds=0.5,
        policy=Policy(
            target=300 / _SPEED_UP,
            stabilisation=300 / _SPEED_UP,
            cooldown=300 / _SPEED_UP,
            max_workers=8,
        ),
        hazard=spot(
            random.Random(_SEED),
            per_second=_RATE_FACTOR * _BAD_RATE_PER_HOUR * _SPEED_UP / 3600,
            notice=30 / _SPEED_UP,
        ),
        visibility_timeout=120 // _SPEED_UP,
        deadline=600,
    )
    result = run_trial(setting)
    plot(result, _PLOT)
    is_within_bounds = show(rows(result))
    print(f"the plot is in {_PLOT}")
    sys.exit(0 if is_within_bounds else 1)


if __name__ == "__main__":
    main()
