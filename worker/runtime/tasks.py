"""The one task: a message becomes a job, and the job an outcome."""

import logging
import random
import socket
import time
from typing import Any, NoReturn

import redis
from celery import Task
from celery.exceptions import Reject, Retry

from producer.contract.job import JOB_ID, QUEUE, TASK_NAME, InvalidJob, Job, run_of_job_id
from producer.contract.outcome import Outcome
from producer.observability.log_context import add_to_log_context, log_context
from producer.observability.redact import redact
from worker.broker.routing import elsewhere
from worker.config.access import require_s3
from worker.errors import Forbidden, InternalError, MalformedMessage, Poison, TransientError
from worker.observability import tracing
from worker.observability.stopwatch import Stopwatch
from worker.runtime import state as runtime
from worker.runtime.celery_app import app
from worker.runtime.state import Runtime

log = logging.getLogger(__name__)


@app.task(name=TASK_NAME, bind=True, typing=False, max_retries=None)
def segment(self: Task[Any, Any], /, *args: object, **kwargs: object) -> dict[str, Any]:
    """Run one job; the result is its outcome as a JSON value, so it composes in any canvas."""
    held = runtime.held()
    job_id = _claimed_id(args) or str(self.request.id)
    tag = str((self.request.properties or {}).get("delivery_tag"))
    facts = {"job_id": job_id, "run_id": run_of_job_id(job_id)}
    with log_context(facts), tracing.delivery(job_id, self.request.headers):
        with held.unacked.holding(tag), held.throughput.job(_queue(self, held)) as working:
            outcome = _answer(self, held, job_id, tag, args, kwargs)
            working.done = outcome.state == "done"
        tracing.tell_outcome(outcome)
        held.metrics.ended(outcome)
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
        add_to_log_context("source", str(job.source))
        tracing.tell_job(job)
        outcome = _outcome(held, job, tag=tag, attempt=attempt)
        queue = elsewhere(outcome, job, routes=held.routes, taken=held.taken)
        # Each time counts as an attempt: two pools could send a job to each other for ever.
        if queue and attempt <= held.settings.max_attempts:
            log.info("job %s: %s; sent on to %s", job_id, outcome.code, queue)
            _send(task, held, job_id, queue=queue, pause=0)
    except TransientError as error:
        words = (job_id, attempt, error.code, error)
        facts = {"attempt": attempt, "code": error.code}
        log.warning("job %s, attempt %d: %s: %s", *words, extra=facts)
        held.metrics.retried(error.code)
        tracing.tell_retry(error.code)
        # Short and with jitter: a delayed message sits in this worker, outside the prefetch limit.
        _send(task, held, job_id, queue=_queue(task, held), pause=_pause(attempt))
    except redis.RedisError as error:
        log.exception("job %s: the ledger could not be read", job_id)
        time.sleep(_pause(1))
        raise Reject(error, requeue=True) from error
    except (Forbidden, MalformedMessage) as error:
        outcome = Outcome(job_id=job_id, state="failed", code=error.code, message=str(error))
    except (Reject, Retry):
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
    message = outcome.message and redact(outcome.message, secrets=held.secrets)
    outcome = outcome.model_copy(
        update={"message": message, "worker": task.request.hostname, "attempt": attempt}
    )
    try:
        held.ledger.record_outcome(outcome)
    except (redis.RedisError, MemoryError) as error:
        # Unsettled is undone: the message comes back, and finds the outputs already there.
        log.exception("job %s: the outcome could not be stored", job_id)
        time.sleep(_pause(1))  # A refusal that lasts must not spin.
        raise Reject(error, requeue=True) from error
    return outcome


def _send(
    task: Task[Any, Any], held: Runtime, job_id: str, *, queue: str, pause: float
) -> NoReturn:
    """Have the job done later, or elsewhere: raises `Retry`, which ends this delivery of it."""
    try:
        held.ledger.deliveries.release(job_id)
        raise task.retry(countdown=pause, queue=queue)
    except (Reject, redis.RedisError) as unsent:
        # Celery would drop a message whose retry it cannot send.
        raise Reject("the retry could not be sent", requeue=True) from unsent


def _queue(task: Task[Any, Any], held: Runtime) -> str:
    """Where the message came from; that is a stranger's word, and may be none of our queues."""
    said = (task.request.delivery_info or {}).get("routing_key")
    return said if said is not None and said in held.routes.requirements else QUEUE


def _outcome(held: Runtime, job: Job, *, tag: str, attempt: int) -> Outcome:
    """Run a job, unless its run is cancelled or it has ended too many workers."""
    run = job.run
    if run and held.ledger.runs.is_cancelled(run):
        return Outcome(job_id=job.id, state="cancelled")
    most, deliveries = held.settings.max_deliveries, held.ledger.deliveries
    # The last time it is watched, and by itself: what ends a worker then is this job.
    last = deliveries.count_unfinished(job.id) >= most - 1 > 0
    with held.job_lock.exclusive() if last else held.job_lock.shared():
        if held.shutdown.begun.is_set():
            raise Reject("this worker is ending", requeue=True)
        # Counted only now: who waits here while a neighbour ends the worker is innocent.
        with held.unacked.running(tag, job.id):
            number, stage = deliveries.count_delivery(
                job.id, visibility_timeout=held.visibility_timeout
            )
            held.metrics.began(job, number=number, attempt=attempt)
            if number > most:
                return held.pipeline.refused(job, Poison(_poison(most, stage)))

            def heard(stage: str) -> None:
                add_to_log_context("stage", stage)
                if last:
                    deliveries.touch(job.id, stage=stage)

            final = attempt >= held.settings.max_attempts
            watch = Stopwatch(heard=heard, timed=tracing.stage)
            return held.pipeline.run(job, final=final, watch=watch)


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


def _log(outcome: Outcome) -> None:
    took = outcome.seconds.get("total", 0)
    facts = outcome.model_dump(include={"state", "code", "attempt", "seconds"}, exclude_none=True)
    if outcome.state != "failed":
        log.info("job %s %s in %.2f s", outcome.job_id, outcome.state, took, extra=facts)
    else:
        # %r: a key or a message may hold line breaks.
        words = (outcome.job_id, outcome.code, outcome.message)
        log.warning("job %s failed: %s: %r", *words, extra=facts)
