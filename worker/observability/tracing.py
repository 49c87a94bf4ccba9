"""The spans of a worker: one a delivery of a job, and below it one a stage."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from producer.contract.job import Job
from producer.contract.outcome import Outcome
from producer.observability.tracing import HEADER, get_tracer, span_attributes

_HEADER: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@contextmanager
def delivery(job_id: str, headers: object) -> Iterator[None]:
    """A span of this thread, in the trace that a message's headers name.

    Headers are a stranger's: any that name none begin a trace, and do nothing else.
    """
    if (tracer := get_tracer()) is None:
        yield
        return
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    named = headers.get(HEADER) if isinstance(headers, dict) else None
    sound = isinstance(named, str) and _HEADER.fullmatch(named)
    carrier = {HEADER: named} if sound else {}
    with tracer.start_as_current_span(
        "cutwork job",
        context=TraceContextTextMapPropagator().extract(carrier, Context()),
        kind=SpanKind.CONSUMER,
        attributes={"cutwork.job_id": job_id},
        # What is raised here gives the message back, or has it sent again.
        record_exception=False,
        set_status_on_exception=False,
    ):
        yield


def tell_job(job: Job) -> None:
    """Say in this thread's span which job it is."""
    _tell(span_attributes(job))


def tell_retry(code: str) -> None:
    """Say in this thread's span that the job is to be tried again, and after which error."""
    _tell({"cutwork.state": "retried", "cutwork.code": code})


def tell_outcome(outcome: Outcome) -> None:
    """Say in this thread's span what became of the job."""
    facts = {"cutwork.state": outcome.state}
    _tell(facts | ({"cutwork.code": outcome.code} if outcome.code else {}), bad=not outcome.ok)


def stage(name: str, began: float, ended: float) -> None:
    """Add a stage to this thread's span; both in seconds of `time.perf_counter`."""
    if (tracer := get_tracer()) is None:
        return
    from opentelemetry.trace import get_current_span

    if get_current_span().is_recording():
        now, clock = time.time_ns(), time.perf_counter()
        start, end = (now - round((clock - moment) * 1e9) for moment in (began, ended))
        tracer.start_span(name, start_time=start).end(end)


def _tell(facts: dict[str, str], *, bad: bool = False) -> None:
    if get_tracer() is None:
        return
    from opentelemetry.trace import StatusCode, get_current_span

    span = get_current_span()
    span.set_attributes(facts)
    if bad:
        span.set_status(StatusCode.ERROR, facts.get("cutwork.code"))
