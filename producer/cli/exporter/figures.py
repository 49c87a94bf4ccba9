"""What the exporter reads from the broker, and the figures derived from it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from producer.store.ledger import Ledger
from producer.store.queue_status import OTHER, QueueStatus, queue_statuses
from producer.store.routes import Routes


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A snapshot of the queues; it needs no live worker."""

    queues: Mapping[str, QueueStatus]
    rates: Mapping[str, float]
    """Images per second of one worker, by queue: measured, or the default until then."""
    pending: int
    runs: Mapping[str, int]
    """Runs of the last month by state."""

    @classmethod
    def read(cls, ledger: Ledger, routes: Routes, *, images_per_second: float) -> Self:
        """Read a snapshot; `images_per_second` stands for a throughput not measured yet.

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
        """Queued and unacknowledged jobs, by queue; those of dead workers count too."""
        return {
            name: status.waiting + status.in_flight
            for name, status in self.queues.items()
            if name != OTHER
        }

    @property
    def backlog_seconds(self) -> dict[str, float]:
        """Seconds that one worker would need for the backlog, by queue."""
        return {name: images / self.rates[name] for name, images in self.backlog.items()}
