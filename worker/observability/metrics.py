"""What a worker counts, for Prometheus. The README's table has the same words."""

import time
from collections.abc import Callable
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

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_WAITING: Final = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 86_400)
_IMAGES: Final = (1, 2, 4, 8, 16, 32, 64)


class Metrics(Events):
    """The metrics of one process, in a registry of their own.

    What is counted as it happens has a method; what is there at any time is read when asked for.
    No label's values are a stranger's to choose.
    """

    def __init__(self) -> None:
        # A second series beside each counter, of when it began, which nobody asks for.
        disable_created_metrics()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._images = Counter(
            "cutwork_images_total",
            "Jobs that ended, by state, and by code where they failed.",
            ["state", "code"],
            registry=registry,
        )
        self._image_seconds = Histogram(
            "cutwork_image_seconds",
            "Seconds of a job that was done, from its begin to its outputs.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "cutwork_stage_seconds",
            "Seconds of each stage of a job that ended.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._queue_wait = Histogram(
            "cutwork_queue_wait_seconds",
            "Seconds from submit to a job's first begin; single jobs, and those of runs (bulk).",
            ["kind"],
            buckets=_WAITING,
            registry=registry,
        )
        self._batch_images = Histogram(
            "cutwork_batch_images",
            "Images that a device was given at once.",
            ["device"],
            buckets=_IMAGES,
            registry=registry,
        )
        self._model_loads = Counter(
            "cutwork_model_loads_total",
            "Models loaded; those of your own are all called custom.",
            ["model"],
            registry=registry,
        )
        self._model_hits = Counter(
            "cutwork_model_cache_hits_total",
            "Jobs whose model was loaded already.",
            ["model"],
            registry=registry,
        )
        self._bytes = Counter(
            "cutwork_bytes_total",
            "Bytes of images read from the object store and written to it.",
            ["direction"],
            registry=registry,
        )
        self._retries = Counter(
            "cutwork_retries_total",
            "Attempts that failed and are made again, by code.",
            ["code"],
            registry=registry,
        )
        self._redeliveries = Counter(
            "cutwork_redeliveries_total",
            "Jobs that another worker had begun, and ended before there was an outcome.",
            registry=registry,
        )
        # There from the start, so that a rate is known from the first one on.
        for state in ("done", "skipped", "cancelled"):
            self._images.labels(state, "")
        for direction in ("read", "written"):
            self._bytes.labels(direction)

    def show(
        self,
        *,
        running: Callable[[], int],
        draining: Callable[[], bool],
        image_memory: Callable[[], int],
        image_memory_limit: int,
    ) -> None:
        """Have these read whenever somebody asks."""

        def gauge(name: str, text: str, read: Callable[[], float]) -> None:
            Gauge(name, text, registry=self.registry).set_function(read)

        gauge("cutwork_jobs_running", "Jobs that are worked on.", running)
        gauge(
            "cutwork_image_memory_bytes",
            "Bytes that images in flight hold of their budget.",
            image_memory,
        )
        gauge(
            "cutwork_image_memory_limit_bytes",
            "That budget, CUTWORK_IMAGE_MEMORY.",
            lambda: image_memory_limit,
        )
        gauge(
            "cutwork_worker_draining",
            "1 once the worker takes nothing new, as it is to end.",
            draining,
        )

    def introduce(self, *, version: str, device: str, queues: str) -> None:
        """Say once what kind of worker this is."""
        text = "Always 1; its labels say what kind of worker this is."
        info = Info("cutwork_worker", text, registry=self.registry)
        info.info({"version": version, "device": device, "queues": queues})

    def began(self, job: Job, *, number: int, attempt: int) -> None:
        """Count that a job begins: its delivery's number and its attempt, both from 1."""
        if number > 1:
            self._redeliveries.inc()
        elif attempt == 1:
            # Another machine's clock may be ahead.
            waited = max(0.0, time.time() - job.submitted_at)
            self._queue_wait.labels("bulk" if job.run else "single").observe(waited)

    def ended(self, outcome: Outcome) -> None:
        """Count an outcome that was stored."""
        self._images.labels(outcome.state, outcome.code or "").inc()
        for stage, seconds in outcome.seconds.items():
            if stage != "total":
                self._stage_seconds.labels(stage).observe(seconds)
            elif outcome.state == "done":
                self._image_seconds.observe(seconds)

    def retried(self, code: str) -> None:
        """Count an attempt that failed with an error that may pass."""
        self._retries.labels(code).inc()

    def batch_ran(self, images: int, device: str) -> None:
        """Count a batch."""
        self._batch_images.labels(device).observe(images)

    def model_used(self, model: str, *, loaded: bool) -> None:
        """Count that a model is used; `loaded`: it had to be loaded for it."""
        (self._model_loads if loaded else self._model_hits).labels(
            # A job may name any object as its model: that many labels would be an attack.
            model if model in catalogue() else "custom"
        ).inc()

    def image_bytes(self, direction: Literal["read", "written"], count: int) -> None:
        """Count bytes of an image."""
        self._bytes.labels(direction).inc(count)
