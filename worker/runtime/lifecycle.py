"""The start and the end of a worker process; importing this connects Celery's signals."""

import logging
import os
import threading
import time
from functools import partial
from importlib.metadata import version
from typing import Any

import psutil
from celery.signals import worker_init, worker_ready, worker_shutdown

from producer.config.settings import SettingsError
from producer.observability.redact import redact, secrets_of
from producer.observability.tracing import open_traces
from producer.store.recovery import Recovery
from worker.broker.celery_patches import on_loop_turn
from worker.broker.early_outcomes import early_outcomes
from worker.errors import CutworkError
from worker.imaging.matting.kernels import kernels
from worker.models.engines.gpu import driver
from worker.models.engines.load import choose_device, gpu_unavailable_reason
from worker.observability.gpu_metrics import GpuMetrics
from worker.observability.http import serve
from worker.observability.stage_chart import format_stages
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.factory import open_file_cache
from worker.pipeline.malloc import fix_mmap_threshold
from worker.pipeline.store_check import check_outputs
from worker.runtime import state
from worker.runtime.broker_check import check_broker
from worker.runtime.celery_app import app
from worker.runtime.outage_log import ignore_advice
from worker.runtime.recorder import RuntimeRecorder
from worker.runtime.state import Runtime

log = logging.getLogger(__name__)


@worker_init.connect
def _start(**_: object) -> None:
    fix_mmap_threshold()
    open_traces("cutwork-worker")
    watch, import_seconds = Stopwatch(), time.time() - psutil.Process().create_time()
    # In parallel with loading models: both take time, and each mostly uses one core.
    compilation = threading.Thread(target=kernels, name="cutwork-kernels")
    try:
        with watch.stage("settings"):
            runtime = state.current()
            check_broker(runtime.settings.broker_url)
            models = runtime.pipeline.models
            open_file_cache(runtime.settings).check()
            # Overrides the option -Q: a worker must only consume queues whose jobs it can process.
            app.amqp.queues.select(runtime.consumed_queues)
            runtime.startup_messages.append(f"takes from {', '.join(runtime.consumed_queues)}")
        with watch.stage("store"):
            runtime.startup_messages.extend(check_outputs(runtime.settings))
        if runtime.settings.metrics_port:
            # Before models are loaded, so that probes see the progress of the start.
            _serve_metrics(runtime)
        compilation.start()
        for name in runtime.settings.preload:
            runtime.health.begin_step(f"loads {name}")
            with watch.stage("models"):
                file = models.store.resolve(name)
                with models.cache.use(file, choose_device(file, "auto").device) as engine:
                    facts = engine.facts
            runtime.startup_messages.append(
                f"loaded {name} on {facts.device} ({facts.engine}, {facts.provider})"
            )
        runtime.health.begin_step("compiles kernels")
        with watch.stage("kernels"):
            compilation.join()
            kernels()  # Compiled by now; if the thread failed, this raises its error.
        runtime.health.begin_step("connects to the broker")
        seconds = watch.seconds()
        seconds |= {"total": import_seconds + seconds["total"]}
        stages = format_stages({"imports": import_seconds} | seconds)
        runtime.startup_messages.append(f"started: {stages}")
    except (SettingsError, CutworkError) as error:
        # Celery would log any other exception and consume all the same.
        raise SystemExit(redact(f"cutwork: {error}", secrets=secrets_of(os.environ))) from error


def _serve_metrics(runtime: Runtime) -> None:
    runtime.metrics.add_info(
        version=version("cutwork"),
        device="cpu" if gpu_unavailable_reason(".onnx") else "cuda",
        queues=",".join(runtime.consumed_queues),
    )
    if buses := driver().bus_ids:
        runtime.metrics.registry.register(GpuMetrics(buses))
    settings = runtime.settings
    serve(
        host=settings.metrics_host,
        port=settings.metrics_port,
        registry=runtime.metrics.registry,
        health=runtime.health,
    )
    runtime.startup_messages.append(
        f"metrics on http://{settings.metrics_host}:{settings.metrics_port}/metrics"
    )


@worker_ready.connect
def _begin_consuming(sender: Any, **_: object) -> None:
    runtime = state.current()
    for line in runtime.startup_messages:
        log.info(line)
    ignore_advice()
    runtime.unacked.attach(sender)
    early_outcomes.recorder = RuntimeRecorder(runtime, hostname=sender.hostname)
    runtime.shutdown.install_signal_handlers()
    on_loop_turn(sender, runtime.health.record_loop_turn)
    runtime.health.finish_start()
    renew = partial(runtime.unacked.renew_forever, visibility_timeout=runtime.visibility_timeout)
    recover = partial(
        Recovery(app=app, ledger=runtime.ledger).run, runtime.shutdown.begun, events=runtime.metrics
    )
    report = partial(runtime.throughput.report_forever, runtime.ledger.throughput)
    for name, target in (
        ("cutwork-renewal", renew),
        ("cutwork-recovery", recover),
        ("cutwork-throughput", report),
    ):
        threading.Thread(target=target, name=name, daemon=True).start()


@worker_shutdown.connect
def _stop(**_: object) -> None:
    # The ledger stays open: other threads use it until the process ends.
    state.current().pipeline.models.cache.close()
