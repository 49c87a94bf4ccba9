"""The state of a worker process: settings, pipeline, ledger, deliveries and metrics."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from producer.observability.redact import secrets_of
from producer.store.ledger import Ledger
from producer.store.routes import Routes
from worker.broker.consumed_queues import select_queues
from worker.broker.reader_writer_lock import ReaderWriterLock
from worker.broker.shutdown import Shutdown
from worker.broker.unacked import UnackedDeliveries
from worker.config.settings import WorkerSettings
from worker.models.engines.load import gpu_unavailable_reason
from worker.models.files.store import RemoteModels
from worker.models.watchdog import Watchdog
from worker.observability.health import Health, broker_check
from worker.observability.throughput import ThroughputMeter
from worker.pipeline.factory import (
    open_limits,
    open_models,
    open_storage,
    open_store,
    open_watchdog,
)
from worker.pipeline.job import Pipeline
from worker.runtime.celery_app import app
from worker.runtime.events import WorkerEvents

_LOOP_TURN_SECONDS: Final = 60.0
"""The longest turn of Celery's main loop while the broker answers: twice the longest pause that
Celery makes between two attempts to connect."""

_STUCK_SHARE: Final = 1 / 5
"""A good job takes less than this share of `CUTWORK_STAGE_TIMEOUT` for a stage, so one that takes
longer may hang. See docs/explanation/recovery.md."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What the task needs in a worker process."""

    settings: WorkerSettings
    pipeline: Pipeline
    ledger: Ledger
    unacked: UnackedDeliveries
    shutdown: Shutdown
    job_lock: ReaderWriterLock
    throughput: ThroughputMeter
    routes: Routes
    consumed_queues: list[str]
    """The queues from which this worker takes jobs."""
    metrics: WorkerEvents
    watchdog: Watchdog
    health: Health
    visibility_timeout: float
    """Seconds."""
    secrets: Collection[str]
    """Texts that must not appear in an outcome."""
    startup_messages: list[str] = field(default_factory=list)
    """Lines for the log, which Celery opens only after `worker_init`."""


@cache
def current() -> Runtime:
    """Return the state of this process, built from the environment on the first call.

    `worker_init` makes that call before any thread takes a job.
    """
    settings = WorkerSettings.read()
    broker = app.conf.broker_transport_options
    ledger = Ledger(
        settings.broker_url,
        outcome_ttl=settings.outcome_ttl,
        timeout=broker["socket_timeout"],
        signed=settings.signing is not None,
    )
    routes = Routes.from_app(app)
    # The driver is queried only if there is a queue for GPUs.
    has_gpu_queue = any("gpu" in needs for needs in routes.requirements.values())
    no_gpu = gpu_unavailable_reason(".onnx") if has_gpu_queue else None
    unacked = UnackedDeliveries(ledger)
    watchdog = open_watchdog(settings)
    shutdown = Shutdown(
        unacked,
        grace=settings.grace,
        find_stuck=watchdog.stuck_jobs,
        min_stuck=_STUCK_SHARE * settings.stage_timeout,
    )
    metrics = watchdog.events = WorkerEvents(shutdown)
    storage = open_storage(settings, connections=2 * app.conf.worker_concurrency, events=metrics)
    remote = RemoteModels(
        find=storage.find_model, download=storage.download_model, read=storage.read_profile
    )
    store = open_store(settings, remote=remote)
    models = open_models(settings, store, watchdog=watchdog, events=metrics)
    limits = open_limits(settings)
    secrets = secrets_of(os.environ)
    budgets = (limits.source_memory, limits.image_memory)
    metrics.add_gauges(
        running=unacked.count_running,
        stopping=shutdown.is_stopping,
        image_memory=lambda: sum(budget.total - budget.free for budget in budgets),
        image_memory_limit=sum(budget.total for budget in budgets),
    )
    return Runtime(
        settings=settings,
        pipeline=Pipeline(storage=storage, models=models, limits=limits, secrets=secrets),
        metrics=metrics,
        watchdog=watchdog,
        health=Health(
            check_broker=broker_check(settings.broker_url),
            find_overdue_call=watchdog.overdue_call,
            find_overdue_stage=watchdog.overdue_stage,
            is_stopping=shutdown.is_stopping,
            loop_timeout=_LOOP_TURN_SECONDS + 2 * broker["socket_timeout"],
        ),
        ledger=ledger,
        unacked=unacked,
        shutdown=shutdown,
        job_lock=ReaderWriterLock(),
        throughput=ThroughputMeter(threads=app.conf.worker_concurrency),
        routes=routes,
        consumed_queues=select_queues(routes.requirements, classes=settings.takes, no_gpu=no_gpu),
        visibility_timeout=float(broker["visibility_timeout"]),
        secrets=secrets,
    )
