"""What a worker process holds, from its start to its end."""

import logging
import os
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import version
from typing import Any, Final

import psutil
from celery.signals import worker_init, worker_ready, worker_shutdown

from producer.config.settings import SettingsError
from producer.observability.redact import redact, secrets_of
from producer.observability.tracing import open_traces
from producer.store.ledger import Ledger
from producer.store.recovery import Recovery
from producer.store.routes import Routes
from worker.broker.exclusive import ReaderWriterLock
from worker.broker.routing import taken
from worker.broker.shutdown import Shutdown
from worker.broker.unacked import UnackedDeliveries
from worker.config.settings import WorkerSettings
from worker.errors import CutworkError
from worker.imaging.matting import matting
from worker.models.engines.gpu import driver
from worker.models.engines.load import choose_device, why_no_gpu
from worker.models.files.store import RemoteModels
from worker.observability.gpu_metrics import GpuMetrics
from worker.observability.health import Health, broker_check
from worker.observability.http import serve
from worker.observability.stage_chart import listed
from worker.observability.stopwatch import Stopwatch
from worker.observability.throughput import ThroughputMeter
from worker.pipeline.factory import open_file_cache, open_limits, open_models, open_store
from worker.pipeline.job import Pipeline
from worker.pipeline.malloc import give_back_large_blocks
from worker.pipeline.storage import S3Storage, open_storage
from worker.runtime.celery_app import app
from worker.runtime.events import WorkerEvents

log = logging.getLogger(__name__)

_TURN_SECONDS: Final = 60.0
"""Of Celery's main loop, at most, while the broker answers: twice the longest pause it makes before
it tries to connect again."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What this process holds."""

    settings: WorkerSettings
    pipeline: Pipeline
    ledger: Ledger
    unacked: UnackedDeliveries
    shutdown: Shutdown
    job_lock: ReaderWriterLock
    throughput: ThroughputMeter
    routes: Routes
    taken: list[str]
    """The queues it takes jobs from."""
    metrics: WorkerEvents
    health: Health
    visibility_timeout: float
    """Seconds after which what a dead worker held is another's."""
    secrets: Collection[str] = ()
    """What no outcome may say."""
    news: list[str] = field(default_factory=list)
    """What the log is to say once there is one: Celery opens it after `worker_init`."""


@cache
def held() -> Runtime:
    """Built once, from the environment; `worker_init` does so before any thread takes a job."""
    settings = WorkerSettings.read()
    broker = app.conf.broker_transport_options
    ledger = Ledger(
        settings.broker_url,
        outcome_ttl=settings.outcome_ttl,
        timeout=broker["socket_timeout"],
        signed=settings.signing is not None,
    )
    routes = Routes.from_app(app)
    # The driver is asked only where a queue is for GPUs.
    asked = any("gpu" in needs for needs in routes.requirements.values())
    no_gpu = why_no_gpu(".onnx") if asked else None
    unacked = UnackedDeliveries(ledger)
    shutdown = Shutdown(unacked, grace=settings.grace)
    metrics = WorkerEvents(shutdown)
    storage = open_storage(settings, connections=2 * app.conf.worker_concurrency, events=metrics)
    store = open_store(settings, remote=_remote_models(storage))
    models = open_models(settings, store, events=metrics)
    limits = open_limits(settings)
    budgets = (limits.sources, limits.pictures)
    metrics.show(
        running=unacked.count,
        draining=shutdown.ending,
        image_memory=lambda: sum(part.total - part.left for part in budgets),
        image_memory_limit=sum(part.total for part in budgets),
    )
    return Runtime(
        settings=settings,
        pipeline=Pipeline(storage=storage, models=models, limits=limits),
        metrics=metrics,
        health=Health(
            broker=broker_check(settings.broker_url),
            overdue=models.inference.overdue,
            ending=shutdown.ending,
            patience=_TURN_SECONDS + 2 * broker["socket_timeout"],
        ),
        ledger=ledger,
        unacked=unacked,
        shutdown=shutdown,
        job_lock=ReaderWriterLock(),
        throughput=ThroughputMeter(threads=app.conf.worker_concurrency),
        routes=routes,
        taken=taken(routes.requirements, takes=settings.takes, no_gpu=no_gpu),
        visibility_timeout=float(broker["visibility_timeout"]),
        secrets=secrets_of(os.environ),
    )


@worker_init.connect
def _start(**_: object) -> None:
    give_back_large_blocks()
    open_traces("cutwork-worker")
    watch, imports = Stopwatch(), time.time() - psutil.Process().create_time()
    # Beside the models: both take their while, and not of the same core.
    kernels = threading.Thread(target=matting.kernels, name="cutwork-kernels")
    try:
        with watch.stage("settings"):
            here = held()
            models = here.pipeline.models
            open_file_cache(here.settings).check()
            # Whatever Celery was told with -Q: what is taken here must be what can be done here.
            app.amqp.queues.select(here.taken)
            here.news.append(f"takes from {', '.join(here.taken)}")
        if here.settings.metrics_port:
            # Before the models, so that a probe sees what the worker is at.
            _show(here)
        kernels.start()
        for name in here.settings.preload:
            here.health.starts(f"loads {name}")
            with watch.stage("models"):
                file = models.store.find(name)
                with models.cache.use(file, choose_device(file, "auto").device) as engine:
                    facts = engine.facts
            here.news.append(f"loaded {name} on {facts.device} ({facts.engine}, {facts.provider})")
        here.health.starts("compiles kernels")
        with watch.stage("kernels"):
            kernels.join()
            matting.kernels()  # There by now, or raises why not.
        here.health.starts("connects to the broker")
        spent = watch.seconds()
        spent |= {"total": imports + spent["total"]}
        here.news.append(f"started: {listed({'imports': imports} | spent)}")
    except (SettingsError, CutworkError) as error:
        # A worker that cannot do its work must not look as if it could.
        raise SystemExit(redact(f"cutwork: {error}", secrets=secrets_of(os.environ))) from error


def _show(here: Runtime) -> None:
    """Have the worker's port answer."""
    here.metrics.introduce(
        version=version("cutwork"),
        device="cpu" if why_no_gpu(".onnx") else "cuda",
        queues=",".join(here.taken),
    )
    if buses := driver().buses:
        here.metrics.registry.register(GpuMetrics(buses))
    settings = here.settings
    serve(
        host=settings.metrics_host,
        port=settings.metrics_port,
        registry=here.metrics.registry,
        health=here.health,
    )
    here.news.append(f"metrics on http://{settings.metrics_host}:{settings.metrics_port}/metrics")


@worker_ready.connect
def _ready(sender: Any, **_: object) -> None:
    here = held()
    for line in here.news:
        log.info(line)
    here.unacked.watch(sender)
    here.shutdown.listen()
    sender.hub.on_tick.add(here.health.turned)
    here.health.takes_jobs()
    keep = partial(here.unacked.keep, visibility_timeout=here.visibility_timeout)
    sweep = partial(
        Recovery(app=app, ledger=here.ledger).run,
        here.shutdown.begun,
        events=here.metrics,
    )
    report = partial(here.throughput.report, here.ledger.throughput)
    for name, target in (
        ("cutwork-keep", keep),
        ("cutwork-sweep", sweep),
        ("cutwork-pace", report),
    ):
        threading.Thread(target=target, name=name, daemon=True).start()


@worker_shutdown.connect
def _stop(**_: object) -> None:
    # Not the ledger: other threads are at it until the process ends.
    held().pipeline.models.cache.close()


def _remote_models(storage: S3Storage) -> RemoteModels:
    return RemoteModels(
        etag=storage.model_etag, download=storage.download_model, read=storage.read_profile
    )
