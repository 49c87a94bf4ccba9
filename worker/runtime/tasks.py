"""The one Celery task: it reads a job from its message, runs it and stores the outcome."""

import logging
import random
import time
from typing import Any, NoReturn

import redis
from celery import Task
from celery.exceptions import Reject, Retry

from producer.contract.errors import InvalidJob
from producer.contract.job import QUEUE, TASK_NAME, Job, run_of_job_id
from producer.contract.outcome import LONGEST_LINE_BYTES, Outcome, cancelled_outcome
from producer.observability.log_context import add_to_log_context, log_context
from producer.observability.redact import redact_line
from worker.broker.consumed_queues import find_fallback_queue
from worker.broker.early_outcomes import claimed_id, internal_error
from worker.config.access import require_s3
from worker.errors import Forbidden, InternalError, MalformedMessage, Poison, TransientError
from worker.observability import tracing
from worker.observability.stopwatch import Stopwatch
from worker.runtime import state
from worker.runtime.celery_app import app
from worker.runtime.recorder import log_outcome
from worker.runtime.state import Runtime

log = logging.getLogger(__name__)

_Task = Task[Any, Any]


@app.task(name=TASK_NAME, bind=True, typing=False, max_retries=None)
def segment(self: _Task, /, *args: object, **kwargs: object) -> dict[str, Any]:
    """Run one job and return its outcome as a JSON value, so that it composes in any canvas."""
    runtime = state.current()
    job_id = claimed_id(args) or str(self.request.id)
    delivery_tag = str((self.request.properties or {}).get("delivery_tag"))
    facts = {"job_id": job_id, "run_id": run_of_job_id(job_id)}
    queue = _source_queue(self, runtime)
    with log_context(facts), tracing.delivery_span(job_id, self.request.headers):
        with runtime.unacked.processing(delivery_tag), runtime.throughput.measure(queue) as job:
            outcome = _process(self, runtime, job_id, delivery_tag, args, kwargs)
            job.cut_out = outcome.state == "done"
        tracing.record_outcome(outcome)
        runtime.metrics.count_outcome(outcome)
        log_outcome(outcome)
    return outcome.to_message()


def _process(
    task: _Task,
    runtime: Runtime,
    job_id: str,
    delivery_tag: str,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> Outcome:
    """Run the job of a message, store its outcome and return it.

    Raises `Retry` if the job was sent again, or `Reject` to requeue the message.
    """
    attempt = 1 + (task.request.retries or 0)
    try:
        job = _read_job(args, kwargs)
        add_to_log_context("source", str(job.source))
        tracing.record_job(job)
        outcome = _run_job(runtime, job, delivery_tag=delivery_tag, attempt=attempt)
        routes, consumed = runtime.routes, runtime.consumed_queues
        queue = find_fallback_queue(outcome, job, routes=routes, consumed=consumed)
        # Each move counts as an attempt: two pools could otherwise exchange a job for ever.
        if queue and attempt <= runtime.settings.max_attempts:
            log.info("job %s: %s; sent on to %s", job_id, outcome.code, queue)
            _resend(task, runtime, job_id, queue=queue, delay=0)
    except TransientError as error:
        words = (job_id, attempt, error.code, error)
        facts = {"attempt": attempt, "code": error.code}
        log.warning("job %s, attempt %d: %s: %s", *words, extra=facts)
        runtime.metrics.count_retry(error.code)
        tracing.record_retry(error.code)
        # Short and with jitter: a delayed message stays in this worker, beyond the prefetch limit.
        queue = _source_queue(task, runtime)
        _resend(task, runtime, job_id, queue=queue, delay=_retry_delay(attempt))
    except redis.RedisError as error:
        log.warning("job %s: requeued, because the ledger could not be read: %s", job_id, error)
        time.sleep(_retry_delay(1))
        raise Reject(error, requeue=True) from error
    except (Forbidden, MalformedMessage) as error:
        message = redact_line(str(error), LONGEST_LINE_BYTES, secrets=runtime.secrets)
        outcome = Outcome(job_id=job_id, state="failed", code=error.code, message=message)
    except (Reject, Retry):
        raise
    except Exception:
        # A bug must still end in an outcome, or the producer would wait for ever.
        log.exception("job %s: internal error", job_id)
        outcome = Outcome(
            job_id=job_id,
            state="failed",
            code=InternalError.code,
            message=internal_error(),
        )
    outcome = outcome.model_copy(update={"worker": task.request.hostname, "attempt": attempt})
    try:
        runtime.ledger.record_outcome(outcome)
    except (redis.RedisError, MemoryError) as error:
        # Without an outcome the job is not done. The next delivery skips the existing outputs.
        log.warning("job %s: requeued, because its outcome could not be stored: %r", job_id, error)
        time.sleep(_retry_delay(1))  # If the error persists, redelivery must not spin.
        raise Reject(error, requeue=True) from error
    return outcome


def _resend(task: _Task, runtime: Runtime, job_id: str, *, queue: str, delay: float) -> NoReturn:
    """Send the job again to `queue` after `delay` seconds; raises `Retry` to end this delivery."""
    try:
        runtime.ledger.deliveries.release(job_id)
        raise task.retry(countdown=delay, queue=queue)
    except (Reject, redis.RedisError) as error:
        # Celery would drop a message whose retry it cannot send.
        log.warning("job %s: requeued, because its retry could not be sent", job_id)
        raise Reject("the retry could not be sent", requeue=True) from error


def _source_queue(task: _Task, runtime: Runtime) -> str:
    """Return the queue that the message names as its own, or the default if that is unknown."""
    queue = (task.request.delivery_info or {}).get("routing_key") or QUEUE
    return queue if queue in runtime.routes.requirements else QUEUE


def _run_job(runtime: Runtime, job: Job, *, delivery_tag: str, attempt: int) -> Outcome:
    """Run a job, unless it or its run is cancelled, or too many workers died with it."""
    run = job.run
    if run and runtime.ledger.runs.is_cancelled(run):
        return cancelled_outcome(job.id, "its run was cancelled")
    max_deliveries, deliveries = runtime.settings.max_deliveries, runtime.ledger.deliveries
    # The last delivery runs alone and records its stages: if the worker dies, this job is why.
    is_last = deliveries.count_unfinished(job.id) >= max_deliveries - 1 > 0
    with runtime.job_lock.hold(exclusive=is_last):
        if runtime.shutdown.begun.is_set():
            raise Reject("this worker is ending", requeue=True)
        # Counted inside the lock: a job that waits for it while another one kills the worker is not
        # to blame.
        with runtime.unacked.running(delivery_tag, job.id):
            number, stage, is_cancelled = deliveries.count_delivery(
                job.id, visibility_timeout=runtime.visibility_timeout
            )
            if is_cancelled:
                return cancelled_outcome(job.id, "it was cancelled")
            runtime.metrics.count_start(job, delivery=number, attempt=attempt)
            if number > max_deliveries:
                return runtime.pipeline.refused(job, _poison(max_deliveries, stage))

            def on_stage(stage: str) -> None:
                add_to_log_context("stage", stage)
                if is_last:
                    deliveries.touch(job.id, stage=stage)

            is_last_attempt = attempt >= runtime.settings.max_attempts
            with runtime.watchdog.job(job.id) as limit:
                watch = Stopwatch(on_start=on_stage, on_end=tracing.record_stage, limit=limit)
                return runtime.pipeline.run(job, final=is_last_attempt, watch=watch)


def _poison(max_deliveries: int, stage: str | None) -> Poison:
    return Poison(
        f"expected an outcome, found that {max_deliveries} workers died or hung while they ran "
        f"this job, the last one at the stage {stage or 'unknown'}; look for the reason in their "
        "logs or in the system's (out of memory?), and send the job again once it is fixed"
    )


def _retry_delay(attempt: int) -> float:
    """Return the seconds before the next attempt: doubling, at most 30, with jitter."""
    return float(min(2**attempt, 30)) * random.uniform(0.5, 1)  # noqa: S311 - not a secret


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
