"""What the exporter reads from the broker, and what follows from it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from producer.store.ledger import Ledger
from producer.store.queue_status import OTHER, QueueStatus, queue_statuses
from producer.store.routes import Routes


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One look at everything; no worker need be alive."""

    queues: Mapping[str, QueueStatus]
    rates: Mapping[str, float]
    """Images a second of one worker, by queue: measured, or what is taken until then."""
    pending: int
    runs: Mapping[str, int]
    """Runs of the last month by state."""

    @classmethod
    def read(cls, ledger: Ledger, routes: Routes, *, images_per_second: float) -> Self:
        """Look; `images_per_second` is a worker's rate where none was measured yet.

        Raises `redis.RedisError` when the broker does not answer.
        """
        measured = ledger.throughput.read(routes.requirements)
        return cls(
            queues=queue_statuses(ledger.redis, routes=routes),
            rates=dict.fromkeys(routes.requirements, images_per_second) | measured,
            pending=ledger.count_pending(),
            runs=Counter(record.state for record in ledger.runs.runs()),
        )

    @property
    def backlog(self) -> dict[str, int]:
        """Jobs that wait or are held, by queue: what a dead worker held counts until it is done."""
        return {
            name: status.waiting + status.in_flight
            for name, status in self.queues.items()
            if name != OTHER
        }

    @property
    def backlog_seconds(self) -> dict[str, float]:
        """Seconds that one worker would take for the backlog of each queue."""
        return {name: images / self.rates[name] for name, images in self.backlog.items()}
