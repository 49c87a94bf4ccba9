"""Every fault there is, by its name."""

from collections.abc import Mapping
from typing import Final

from tests.chaos import broker_faults, s3_faults, worker_faults
from tests.chaos.rounds import Fault

FAULTS: Final[Mapping[str, Fault]] = {
    fault.name: fault for fault in (*worker_faults.FAULTS, *broker_faults.FAULTS, *s3_faults.FAULTS)
}
