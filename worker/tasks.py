"""The Celery app, its one task, and the start and the end of a worker."""

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import redis
from celery import Celery, Task
from celery.exceptions import Reject
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    worker_init,
    worker_ready,
    worker_shutdown,
)
from kombu.transport import TRANSPORT_ALIASES

from producer.job import JOB_ID, QUEUE, TASK_NAME, InvalidJob, Job, run_of
from producer.ledger import Ledger
from producer.log_lines import tidy
from producer.outcome import Outcome
from producer.redact import redacted, secrets_of
from producer.settings import ProducerSettings, SettingsError, celery_settings
from producer.signing import register_signing
from producer.sweep import Sweep
from worker import matting
from worker.access import require_s3
from worker.allocator import give_back_large_blocks
from worker.custody import Custody
from worker.drain import Drain
from worker.errors import (
    CutworkError,
    Forbidden,
    InternalError,
    MalformedMessage,
    Poison,
    TransientError,
)
from worker.models.load import choose_device
from worker.models.store import RemoteModels
from worker.open_models import open_disk, open_limits, open_models, open_store
from worker.pipeline import Pipeline
from worker.settings import WorkerSettings
from worker.stopwatch import Stopwatch
from worker.storage import S3Storage, open_storage
from worker.turnstile import Turnstile

log = logging.getLogger(__name__)

_settings = ProducerSettings.read()
register_signing(_settings.signing)
app = Celery("cutwork")
app.conf.update(celery_settings(_settings))
# For every task, Celery's own included.
app.Task.Strategy = "worker.intake:refuse_malformed"
# By name, so that `rediss://` keeps what kombu does for TLS, and logs show the broker's own URL.
TRANSPORT_ALIASES.update(redis="worker.transport:Transport", rediss="worker.transport:Transport")


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What this process holds."""

    settings: WorkerSettings
    pipeline: Pipeline
    ledger: Ledger
    custody: Custody
    drain: Drain
    turnstile: Turnstile
    secrets: Collection[str] = ()
    """What no outcome may say."""


@cache
def runtime() -> Runtime:
    """Built once, from the environment; `worker_init` does so before any thread takes a job."""
    settings = WorkerSettings.read()
    storage = open_storage(settings, connections=2 * app.conf.worker_concurrency)
    store = open_store(settings, remote=_remote_models(storage))
    ledger = Ledger(
        settings.broker_url,
        outcome_ttl=settings.outcome_ttl,
        timeout=app.conf.broker_transport_options["socket_timeout"],
        signed=settings.signing is not None,
    )
    custody = Custody(ledger.deliveries)
    drain = Drain(custody, grace=settings.grace)
    return Runtime(
        settings=settings,
        pipeline=Pipeline(
            storage=storage,
            models=open_models(settings, store, on_end=drain.last_words),
            limits=open_limits(settings),
        ),
        ledger=ledger,
        custody=custody,
        drain=drain,
        turnstile=Turnstile(),
        secrets=secrets_of(os.environ),
    )


@worker_init.connect
def _start(**_: object) -> None:
    give_back_large_blocks()
    try:
        held = runtime()
        models = held.pipeline.models
        open_disk(held.settings).check()
        matting.kernels()
        for name in held.settings.preload:
            file = models.store.find(name)
            with models.cache.use(file, choose_device(file, "auto").device) as engine:
                log.info("loaded %s on %s (%s)", name, engine.facts.device, engine.facts.provider)
    except (SettingsError, CutworkError) as error:
        # A worker that cannot do its work must not look as if it could.
        raise SystemExit(redacted(f"cutwork: {error}", secrets=secrets_of(os.environ))) from error


@after_setup_logger.connect
@after_setup_task_logger.connect
def _tidy(logger: logging.Logger, **_: object) -> None:
    tidy(logger)
    # Celery would repeat every outcome in full beside our own line.
    logging.getLogger("celery.app.trace").setLevel(logging.WARNING)
    # So would libvips, of every picture it encodes.
    logging.getLogger("pyvips").setLevel(logging.WARNING)


@worker_ready.connect
def _ready(sender: Any, **_: object) -> None:
    held = runtime()
    held.custody.watch(sender)
    held.drain.listen()
    keep = partial(held.custody.keep, visibility_timeout=_visibility_timeout())
    sweep = partial(
        Sweep(app=app, ledger=held.ledger).run,
        held.drain.begun,
        found=lambda jobs: log.warning("sent %d lost jobs again", jobs),
    )
    for name, target in (("cutwork-keep", keep), ("cutwork-sweep", sweep)):
        threading.Thread(target=target, name=name, daemon=True).start()


@worker_shutdown.connect
def _stop(**_: object) -> None:
    held = runtime()
    held.pipeline.models.cache.close()
    held.ledger.close()


@app.task(name=TASK_NAME, bind=True, typing=False, max_retries=None)
def segment(self: Task[Any, Any], /, *args: object, **kwargs: object) -> dict[str, Any]:
    """Run one job; the result is its outcome as a JSON value, so it composes in any canvas."""
    held = runtime()
    job_id = _claimed_id(args) or str(self.request.id)
    tag = str((self.request.properties or {}).get("delivery_tag"))
    with held.custody.holding(tag):
        outcome = _answer(self, held, job_id, tag, args, kwargs)
    _log(outcome)
    return outcome.to_message()


def _answer(
    task: Task[Any, Any],
    held: Runtime,
    job_id: str,
    tag: str,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> Outcome:
    """Run and settle the job of a message; raises `Retry`, or `Reject` to give the message back."""
    attempt = 1 + (task.request.retries or 0)
    try:
        job = _read_job(args, kwargs)
        outcome = _outcome(held, job, tag=tag, final=attempt >= held.settings.max_attempts)
    except TransientError as error:
        log.warning("job %s, attempt %d: %s: %s", job_id, attempt, error.code, error)
        # Short and with jitter: a delayed message sits in this worker, outside the prefetch limit.
        try:
            held.ledger.deliveries.undo(job_id)
            # Where a message says it came from is a stranger's word: the retry goes to our queue.
            raise task.retry(countdown=_pause(attempt), queue=QUEUE) from error
        except (Reject, redis.RedisError) as unsent:
            # Celery would drop a message whose retry it cannot send.
            raise Reject("the retry could not be sent", requeue=True) from unsent
    except redis.RedisError as error:
        log.exception("job %s: the ledger could not be read", job_id)
        time.sleep(_pause(1))
        raise Reject(error, requeue=True) from error
    except (Forbidden, MalformedMessage) as error:
        outcome = Outcome(job_id=job_id, state="failed", code=error.code, message=str(error))
    except Reject:
        raise
    except Exception:
        # A fault of ours must still end in an outcome, or whoever waits waits for ever.
        log.exception("job %s: internal error", job_id)
        outcome = Outcome(
            job_id=job_id,
            state="failed",
            code=InternalError.code,
            message=f"a fault in the worker; the log of {socket.gethostname()} has the traceback",
        )
    message = outcome.message and redacted(outcome.message, secrets=held.secrets)
    outcome = outcome.model_copy(
        update={"message": message, "worker": task.request.hostname, "attempt": attempt}
    )
    try:
        held.ledger.settle(outcome)
    except redis.RedisError as error:
        # Unsettled is undone: the message comes back, and finds the outputs already there.
        log.exception("job %s: the outcome could not be stored", job_id)
        time.sleep(_pause(1))  # A refusal that lasts must not spin.
        raise Reject(error, requeue=True) from error
    return outcome


def _outcome(held: Runtime, job: Job, *, tag: str, final: bool) -> Outcome:
    """Run a job, unless its run is cancelled or it has ended too many workers."""
    run = run_of(job.id)
    if run and held.ledger.runs.cancelled(run):
        return Outcome(job_id=job.id, state="cancelled")
    most, deliveries = held.settings.max_deliveries, held.ledger.deliveries
    # The last time it is watched, and by itself: what ends a worker then is this job.
    last = deliveries.count(job.id) >= most - 1 > 0
    with held.turnstile.alone() if last else held.turnstile.together():
        if held.drain.begun.is_set():
            raise Reject("this worker is ending", requeue=True)
        # Counted only now: who waits here while a neighbour ends the worker is innocent.
        with held.custody.running(tag, job.id):
            number, stage = deliveries.begin(job.id, visibility_timeout=_visibility_timeout())
            if number > most:
                return held.pipeline.refused(job, Poison(_poison(most, stage)))
            heard = (lambda name: deliveries.alive(job.id, stage=name)) if last else None
            return held.pipeline.run(job, final=final, watch=Stopwatch(heard=heard))


def _visibility_timeout() -> float:
    return float(app.conf.broker_transport_options["visibility_timeout"])


def _poison(most: int, stage: str | None) -> str:
    return (
        f"expected an outcome, found that each of {most} workers that began this job ended before "
        f"it had one, the last at the stage {stage or 'unknown'}; their logs, or the system's, say "
        "why (out of memory?). Send the job again once that is mended"
    )


def _pause(attempt: int) -> float:
    """Seconds before the next attempt: doubling, at most 30, with jitter."""
    return float(min(2**attempt, 30)) * random.uniform(0.5, 1)  # noqa: S311 - no secret


def _read_job(args: tuple[object, ...], kwargs: dict[str, object]) -> Job:
    if len(args) != 1 or kwargs:
        raise MalformedMessage(
            f"expected one argument, the job; found {len(args)} and {sorted(kwargs)}"
        )
    try:
        return Job.from_message(args[0])
    except InvalidJob as error:
        require_s3(args[0])
        raise MalformedMessage(str(error)) from error


def _claimed_id(args: tuple[object, ...]) -> str | None:
    """The id a message gives itself, if it is one: who sent it looks for the outcome there."""
    claimed = args[0].get("id") if args and isinstance(args[0], dict) else None
    return claimed if isinstance(claimed, str) and JOB_ID.fullmatch(claimed) else None


def _remote_models(storage: S3Storage) -> RemoteModels:
    return RemoteModels(
        etag=storage.model_etag, download=storage.download_model, read=storage.read_profile
    )


def _log(outcome: Outcome) -> None:
    took = outcome.seconds.get("total", 0)
    if outcome.state != "failed":
        log.info("job %s %s in %.2f s", outcome.job_id, outcome.state, took)
    else:
        # %r: a key or a message may hold line breaks.
        log.warning("job %s failed: %s: %r", outcome.job_id, outcome.code, outcome.message)
