"""The runs of `cutwork sync`, as callers of the client read them."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from producer.contract.run import RunRecord
from producer.store.runs import RunLedger


class ClientRuns(RunLedger):
    """The ledger of runs, whose public methods end in the client's time with its exceptions."""

    def __init__(
        self, runs: RunLedger, *, asking: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """`asking` bounds the time of the commands in its block and translates their errors."""
        super().__init__(runs.server, signed=runs.signed)
        self._asking = asking

    def runs(self) -> list[RunRecord]:
        """Return the stored runs, latest first, without their lists."""
        with self._asking():
            return super().runs()

    def record(self, run: str) -> RunRecord:
        """Return the record of a run; raises `UnknownRun` or `UnreadableRun`."""
        with self._asking():
            return super().record(run)
