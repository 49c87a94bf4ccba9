"""All faults by name."""

from collections.abc import Mapping
from typing import Final

from tests.system.chaos import (
    broker_faults,
    clock_faults,
    key_faults,
    message_faults,
    model_faults,
    s3_faults,
    soak,
    worker_faults,
)
from tests.system.chaos.rounds import Fault

FAULTS: Final[Mapping[str, Fault]] = {
    fault.name: fault
    for module in (
        worker_faults,
        broker_faults,
        s3_faults,
        key_faults,
        model_faults,
        clock_faults,
        message_faults,
        soak,
    )
    for fault in module.FAULTS
}
