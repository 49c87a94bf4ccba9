"""The exporter's metrics: their names, and how they are filled at each scrape."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, get_args

import redis
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from producer.cli.exporter.figures import Figures
from producer.config.broker_url import failure_advice, failure_verb
from producer.contract.run import RunState

log = logging.getLogger(__name__)

_FRESH_SECONDS: Final = 1.0
"""How long one look serves all who ask."""


class Named(NamedTuple):
    """A metric: its name, what it means, and its labels."""

    name: str
    about: str
    labels: tuple[str, ...] = ()

    def family(self, samples: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
        """The metric with its values."""
        family = GaugeMetricFamily(self.name, self.about, labels=self.labels)
        for labels, value in samples:
            family.add_metric(labels, value)
        return family


BROKER_UP: Final = Named(
    "cutwork_broker_up", "1 while the broker answers; 0: every other series is missing."
)
WAITING: Final = Named(
    "cutwork_queue_waiting",
    "Messages no worker has taken, by priority; 0 goes first.",
    ("queue", "priority"),
)
IN_FLIGHT: Final = Named(
    "cutwork_queue_in_flight",
    "Messages taken and not answered, those of dead workers too; `other`: of no queue of ours.",
    ("queue",),
)
OLDEST: Final = Named(
    "cutwork_queue_oldest_seconds",
    "Since the oldest job that waits was submitted; 0 when none waits.",
    ("queue",),
)
BACKLOG_IMAGES: Final = Named(
    "cutwork_queue_backlog_images", "Waiting and in flight together.", ("queue",)
)
BACKLOG_SECONDS: Final = Named(
    "cutwork_queue_backlog_seconds",
    "What one worker would take for the backlog: images ÷ the next.",
    ("queue",),
)
RATE: Final = Named(
    "cutwork_worker_images_per_second",
    "Of one worker that has enough to do: measured, or --images-per-second until then.",
    ("queue",),
)
PENDING: Final = Named("cutwork_pending", "Jobs that were submitted and have no outcome yet.")
RUNS: Final = Named("cutwork_runs", "Runs of the last month.", ("state",))

METRICS: Final = (
    *(BROKER_UP, WAITING, IN_FLIGHT, OLDEST, BACKLOG_IMAGES, BACKLOG_SECONDS, RATE),
    *(PENDING, RUNS),
)


class Metrics(Collector):
    """Looks at the broker when it is asked, once a second at most; safe to use from any thread."""

    def __init__(self, read: Callable[[], Figures]) -> None:
        """`read` may raise `redis.RedisError` and `OSError`: then the broker is away."""
        self._read = read
        self._lock = threading.Lock()
        self._looked = -_FRESH_SECONDS
        self._figures: Figures | None = None
        self._said: str | None = None

    def figures(self) -> Figures | None:
        """How it stands; None while the broker does not answer."""
        # Whoever comes while another looks waits, and is given the same.
        with self._lock:
            if time.monotonic() - self._looked >= _FRESH_SECONDS:
                self._figures = self._look()
                self._looked = time.monotonic()
            return self._figures

    def collect(self) -> Iterator[Metric]:
        """Every metric; of a broker that is away, that it is: old figures would scale wrongly."""
        figures = self.figures()
        yield BROKER_UP.family([((), float(figures is not None))])
        if figures is None:
            return
        queues = figures.queues.items()
        yield WAITING.family(
            ((name, str(step)), float(count))
            for name, status in queues
            for step, count in status.priorities.items()
        )
        yield IN_FLIGHT.family(((name,), status.in_flight) for name, status in queues)
        yield OLDEST.family(
            ((name,), figures.queues[name].oldest_waiting or 0) for name in figures.backlog
        )
        yield BACKLOG_IMAGES.family(((name,), count) for name, count in figures.backlog.items())
        yield BACKLOG_SECONDS.family(
            ((name,), seconds) for name, seconds in figures.backlog_seconds.items()
        )
        yield RATE.family(((name,), rate) for name, rate in figures.rates.items())
        yield PENDING.family([((), figures.pending)])
        yield RUNS.family(((state,), figures.runs.get(state, 0)) for state in get_args(RunState))

    def _look(self) -> Figures | None:
        try:
            figures = self._read()
        except (redis.RedisError, OSError) as error:
            self._say(f"the broker {failure_verb(error)} ({error}); {failure_advice(error)}")
            return None
        self._say(None)
        return figures

    def _say(self, trouble: str | None) -> None:
        if trouble is not None and self._said is None:
            log.warning("%s", trouble)
        elif trouble is None and self._said is not None:
            log.info("the broker answers again")
        self._said = trouble
