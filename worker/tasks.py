"""The Celery app, its one task, and the start and the end of a worker."""

import logging
import random
import socket
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import redis
from celery import Celery, Task
from celery.exceptions import Reject
from celery.signals import after_setup_logger, worker_init, worker_shutdown
from kombu.transport import TRANSPORT_ALIASES

from producer.job import JOB_ID, QUEUE, TASK_NAME, InvalidJob, Job, run_of
from producer.ledger import Ledger
from producer.outcome import Outcome
from producer.settings import SettingsError, celery_settings
from worker import matting
from worker.allocator import give_back_large_blocks
from worker.errors import CutworkError, InternalError, MalformedMessage, TransientError
from worker.models.load import choose_device
from worker.models.store import RemoteModels
from worker.open_models import open_disk, open_limits, open_models, open_store
from worker.pipeline import Pipeline
from worker.settings import WorkerSettings
from worker.storage import S3Storage, open_storage

log = logging.getLogger(__name__)

app = Celery("cutwork")
app.conf.update(celery_settings())
# For every task, Celery's own included.
app.Task.Strategy = "worker.intake:refuse_malformed"
# By name, so that `rediss://` keeps what kombu does for TLS, and logs show the broker's own URL.
TRANSPORT_ALIASES.update(redis="worker.intake:Transport", rediss="worker.intake:Transport")


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What this process holds: one pipeline with its model cache, and the ledger."""

    settings: WorkerSettings
    pipeline: Pipeline
    ledger: Ledger


@cache
def runtime() -> Runtime:
    """Built once, from the environment; `worker_init` does so before any thread takes a job."""
    settings = WorkerSettings.read()
    storage = open_storage(settings, connections=2 * app.conf.worker_concurrency)
    store = open_store(settings, remote=_remote_models(storage))
    return Runtime(
        settings=settings,
        pipeline=Pipeline(
            storage=storage,
            models=open_models(settings, store),
            limits=open_limits(settings),
        ),
        ledger=Ledger(settings.broker_url, outcome_ttl=settings.outcome_ttl),
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
        raise SystemExit(f"cutwork: {error}") from error


@after_setup_logger.connect
def _quiet(**_: object) -> None:
    # Celery would repeat every outcome in full beside our own line.
    logging.getLogger("celery.app.trace").setLevel(logging.WARNING)


@worker_shutdown.connect
def _stop(**_: object) -> None:
    held = runtime()
    held.pipeline.models.cache.close()
    held.ledger.close()


@app.task(name=TASK_NAME, bind=True, typing=False, max_retries=None)
def segment(self: Task[Any, Any], /, *args: object, **kwargs: object) -> dict[str, Any]:
    """Run one job; the result is its outcome as a JSON value, so it composes in any canvas."""
    held = runtime()
    attempt = 1 + (self.request.retries or 0)
    job_id = _claimed_id(args) or str(self.request.id)
    try:
        job = _read_job(args, kwargs)
        run = run_of(job.id)
        if run and held.ledger.runs.cancelled(run):
            outcome = Outcome(job_id=job.id, state="cancelled")
        else:
            outcome = held.pipeline.run(job, final=attempt >= held.settings.max_attempts)
    except TransientError as error:
        log.warning("job %s, attempt %d: %s: %s", job_id, attempt, error.code, error)
        # Short and with jitter: a delayed message sits in this worker, outside the prefetch limit.
        try:
            # Where a message says it came from is a stranger's word: the retry goes to our queue.
            raise self.retry(countdown=_pause(attempt), queue=QUEUE) from error
        except Reject as unsent:
            # Celery would drop a message whose retry it cannot send.
            raise Reject("the retry could not be sent", requeue=True) from unsent
    except redis.RedisError as error:
        log.exception("job %s: the ledger could not be read", job_id)
        time.sleep(_pause(1))
        raise Reject(error, requeue=True) from error
    except MalformedMessage as error:
        outcome = Outcome(job_id=job_id, state="failed", code=error.code, message=str(error))
    except Exception:
        # A fault of ours must still end in an outcome, or whoever waits waits for ever.
        log.exception("job %s: internal error", job_id)
        outcome = Outcome(
            job_id=job_id,
            state="failed",
            code=InternalError.code,
            message=f"a fault in the worker; the log of {socket.gethostname()} has the traceback",
        )
    outcome = outcome.model_copy(update={"worker": self.request.hostname, "attempt": attempt})
    try:
        held.ledger.settle(outcome)
    except redis.RedisError as error:
        # Unsettled is undone: the message comes back, and finds the outputs already there.
        log.exception("job %s: the outcome could not be stored", job_id)
        time.sleep(_pause(1))  # A refusal that lasts must not spin.
        raise Reject(error, requeue=True) from error
    _log(outcome)
    return outcome.to_message()


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
