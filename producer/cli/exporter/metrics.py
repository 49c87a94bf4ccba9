"""The exporter's metrics: names, help texts, their values at each scrape, and the HTTP pages."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Final, NamedTuple, get_args

import redis
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from producer.cli.exporter.figures import Figures
from producer.config.broker_url import failure_advice, failure_verb
from producer.contract.run import RunState
from producer.observability.http_server import Page, Pages

log = logging.getLogger(__name__)

_FRESH_SECONDS: Final = 1.0
"""How long a snapshot is served before the broker is read again."""


class Definition(NamedTuple):
    """A metric's name, help text and labels."""

    name: str
    about: str
    labels: tuple[str, ...] = ()

    def family(self, samples: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
        """Return the metric with its values."""
        family = GaugeMetricFamily(self.name, self.about, labels=self.labels)
        for labels, value in samples:
            family.add_metric(labels, value)
        return family


BROKER_UP: Final = Definition(
    "cutwork_broker_up", "1 while the broker answers; at 0 every other series is absent."
)
WAITING: Final = Definition(
    "cutwork_queue_waiting",
    "Queued messages by priority; 0 is delivered first.",
    ("queue", "priority"),
)
IN_FLIGHT: Final = Definition(
    "cutwork_queue_in_flight",
    "Unacknowledged messages, dead workers' included; `other`: of unknown queues.",
    ("queue",),
)
OLDEST: Final = Definition(
    "cutwork_queue_oldest_seconds",
    "Seconds since the oldest queued job was submitted; 0 if none is queued.",
    ("queue",),
)
BACKLOG_IMAGES: Final = Definition(
    "cutwork_queue_backlog_images", "Queued and in-flight messages.", ("queue",)
)
BACKLOG_SECONDS: Final = Definition(
    "cutwork_queue_backlog_seconds",
    "Seconds one worker would need: backlog images ÷ images per second.",
    ("queue",),
)
RATE: Final = Definition(
    "cutwork_worker_images_per_second",
    "Throughput of one busy worker: measured, or --images-per-second until then.",
    ("queue",),
)
PENDING: Final = Definition("cutwork_pending", "Submitted jobs without an outcome.")
RUNS: Final = Definition("cutwork_runs", "Runs of the last month, by state.", ("state",))

METRICS: Final = (
    *(BROKER_UP, WAITING, IN_FLIGHT, OLDEST, BACKLOG_IMAGES, BACKLOG_SECONDS, RATE),
    *(PENDING, RUNS),
)


class Metrics(Collector):
    """Collects metrics from the broker, at most once a second. Thread-safe."""

    def __init__(self, read: Callable[[], Figures]) -> None:
        """`read` raises `redis.RedisError` or `OSError` while the broker is unavailable."""
        self._read = read
        self._lock = threading.Lock()
        self._read_at = -_FRESH_SECONDS
        self._figures: Figures | None = None
        self._is_up = True

    def figures(self) -> Figures | None:
        """Return the current figures; None while the broker does not answer."""
        # Concurrent scrapes wait for the read in progress and share its result.
        with self._lock:
            if time.monotonic() - self._read_at >= _FRESH_SECONDS:
                self._figures = self._refresh()
                self._read_at = time.monotonic()
            return self._figures

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, or only `cutwork_broker_up` while the broker is unavailable.

        Stale figures would mislead an autoscaler.
        """
        figures = self.figures()
        yield BROKER_UP.family([((), float(figures is not None))])
        if figures is None:
            return
        queues, backlog = figures.queues.items(), figures.backlog
        yield WAITING.family(
            ((name, str(priority)), count)
            for name, status in queues
            for priority, count in status.priorities.items()
        )
        yield IN_FLIGHT.family(((name,), status.in_flight) for name, status in queues)
        yield OLDEST.family(((name,), figures.queues[name].oldest_waiting or 0) for name in backlog)
        yield BACKLOG_IMAGES.family(((name,), count) for name, count in backlog.items())
        yield BACKLOG_SECONDS.family(
            ((name,), seconds) for name, seconds in figures.backlog_seconds.items()
        )
        yield RATE.family(((name,), rate) for name, rate in figures.rates.items())
        yield PENDING.family([((), figures.pending)])
        yield RUNS.family(((state,), figures.runs.get(state, 0)) for state in get_args(RunState))

    def _refresh(self) -> Figures | None:
        try:
            figures = self._read()
        except (redis.RedisError, OSError) as error:
            if self._is_up:
                verb, advice = failure_verb(error), failure_advice(error)
                log.warning("the broker %s (%s); %s", verb, error, advice)
                self._is_up = False
            return None
        if not self._is_up:
            log.info("the broker answers again")
            self._is_up = True
        return figures


def exporter_pages(metrics: Metrics) -> Pages:
    """Return `/metrics`, `/healthz`, and `/readyz`: ready while the broker answers."""
    # Without `auto_describe`, registering does not read the broker, which may not answer yet.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)

    def metrics_page(accept: str) -> Page:
        encode, content_type = choose_encoder(accept)
        return Page(encode(registry), content_type=content_type)

    def readiness_page(_accept: str) -> Page:
        return unavailable if metrics.figures() is None else ok

    ok = Page(b"ok\n")
    unavailable = Page(b"the broker does not answer\n", HTTPStatus.SERVICE_UNAVAILABLE)
    return {"/metrics": metrics_page, "/healthz": lambda _: ok, "/readyz": readiness_page}
