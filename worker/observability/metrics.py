"""A worker's Prometheus metrics. docs/reference/metrics.md repeats their descriptions."""

import time
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from producer.contract.job import Job
from producer.contract.outcome import Outcome
from producer.observability.events import Events
from worker.models.files.catalogue import catalogue

_STAGE_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_WAIT_SECONDS: Final = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 86_400)
_BATCH_IMAGES: Final = (1, 2, 4, 8, 16, 32, 64)


class Metrics(Events):
    """The metrics of one process, in a registry of their own.

    Events have a `count_…` method each; gauges are read at each scrape. Messages are untrusted
    input, so no label takes its values from them unchecked.
    """

    def __init__(self) -> None:
        # Each counter would have a second series with the time at which it was created.
        disable_created_metrics()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self._images = counter(
            "cutwork_images_total",
            "Jobs with an outcome, by state, and by code if they failed.",
            ["state", "code"],
        )
        self._image_seconds = histogram(
            "cutwork_image_seconds",
            "Seconds from the start of a job to its stored outputs, for jobs that are done.",
            buckets=_STAGE_SECONDS,
        )
        self._stage_seconds = histogram(
            "cutwork_stage_seconds",
            "Seconds of each stage of a job with an outcome.",
            ["stage"],
            buckets=_STAGE_SECONDS,
        )
        self._queue_wait = histogram(
            "cutwork_queue_wait_seconds",
            "Seconds from submission to the first start: `single` jobs, or `bulk` jobs of runs.",
            ["kind"],
            buckets=_WAIT_SECONDS,
        )
        self._batch_images = histogram(
            "cutwork_batch_images", "Images in one batch.", ["device"], buckets=_BATCH_IMAGES
        )
        self._model_loads = counter(
            "cutwork_model_loads_total",
            "Models loaded; models outside the catalogue are called `custom`.",
            ["model"],
        )
        self._model_hits = counter(
            "cutwork_model_cache_hits_total", "Jobs whose model was already loaded.", ["model"]
        )
        self._bytes = counter(
            "cutwork_bytes_total",
            "Bytes of images read from and written to the object store.",
            ["direction"],
        )
        self._retries = counter(
            "cutwork_retries_total",
            "Failed attempts that are followed by another one, by code.",
            ["code"],
        )
        self._redeliveries = counter(
            "cutwork_redeliveries_total",
            "Jobs delivered again because the worker that ran them died.",
        )
        # Series that exist from the start have a rate from their first event on.
        for state in ("done", "skipped", "cancelled"):
            self._images.labels(state, "")
        for direction in ("read", "written"):
            self._bytes.labels(direction)

    def add_gauges(
        self,
        *,
        running: Callable[[], int],
        stopping: Callable[[], bool],
        image_memory: Callable[[], int],
        image_memory_limit: int,
    ) -> None:
        """Add the gauges that are read by the given functions at each scrape."""
        gauge = partial(Gauge, registry=self.registry)
        gauge("cutwork_jobs_running", "Jobs that are running.").set_function(running)
        gauge(
            "cutwork_image_memory_bytes",
            "Bytes of the image memory budget that running jobs have reserved.",
        ).set_function(image_memory)
        gauge(
            "cutwork_image_memory_limit_bytes", "Bytes of that budget, CUTWORK_IMAGE_MEMORY."
        ).set(image_memory_limit)
        gauge(
            "cutwork_worker_draining", "1 while the worker is shutting down and takes no more jobs."
        ).set_function(stopping)

    def add_info(self, *, version: str, device: str, queues: str) -> None:
        """Add the constant metric that describes this worker; call once."""
        text = "Always 1; the labels describe the worker."
        info = Info("cutwork_worker", text, registry=self.registry)
        info.info({"version": version, "device": device, "queues": queues})

    def count_start(self, job: Job, *, delivery: int, attempt: int) -> None:
        """Count the start of a job; `delivery` and `attempt` are counted from 1."""
        if delivery > 1:
            self._redeliveries.inc()
        elif attempt == 1:
            # The clock of the submitting machine may be ahead.
            seconds = max(0.0, time.time() - job.submitted_at)
            self._queue_wait.labels("bulk" if job.run else "single").observe(seconds)

    def count_outcome(self, outcome: Outcome) -> None:
        """Count a stored outcome."""
        self._images.labels(outcome.state, outcome.code or "").inc()
        for stage, seconds in outcome.seconds.items():
            if stage != "total":
                self._stage_seconds.labels(stage).observe(seconds)
            elif outcome.state == "done":
                self._image_seconds.observe(seconds)

    def count_retry(self, code: str) -> None:
        """Count an attempt that failed with a transient error."""
        self._retries.labels(code).inc()

    def batch_ran(self, images: int, device: str) -> None:
        """Count a batch of so many images on a device."""
        self._batch_images.labels(device).observe(images)

    def model_used(self, model: str, *, loaded: bool) -> None:
        """Count a use of a model; `loaded`: whether it had to be loaded for that."""
        (self._model_loads if loaded else self._model_hits).labels(
            # A job may name any object as its model, which would allow any number of label values.
            model if model in catalogue() else "custom"
        ).inc()

    def image_bytes(self, direction: Literal["read", "written"], count: int) -> None:
        """Count the bytes of an image."""
        self._bytes.labels(direction).inc(count)
