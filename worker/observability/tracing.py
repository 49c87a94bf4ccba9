"""A worker's OpenTelemetry spans: one per delivery of a job, with one child per stage."""

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
def delivery_span(job_id: str, headers: object) -> Iterator[None]:
    """Make a span current in this thread, within the trace that the message's headers name.

    Headers are untrusted input: if they name no valid trace, the span begins a new one.
    """
    if (tracer := get_tracer()) is None:
        yield
        return
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = headers.get(HEADER) if isinstance(headers, dict) else None
    is_valid = isinstance(parent, str) and _HEADER.fullmatch(parent)
    carrier = {HEADER: parent} if is_valid else {}
    with tracer.start_as_current_span(
        "cutwork job",
        context=TraceContextTextMapPropagator().extract(carrier, Context()),
        kind=SpanKind.CONSUMER,
        attributes={"cutwork.job_id": job_id},
        # Exceptions here requeue or retry the job, which is not an error of the span.
        record_exception=False,
        set_status_on_exception=False,
    ):
        yield


def record_job(job: Job) -> None:
    """Add the job's attributes to the current span."""
    _set_attributes(span_attributes(job))


def record_retry(code: str) -> None:
    """Record in the current span that the job is retried, and the code of the error."""
    _set_attributes({"cutwork.state": "retried", "cutwork.code": code})


def record_outcome(outcome: Outcome) -> None:
    """Record the outcome's state and code in the current span."""
    attributes: dict[str, str] = {"cutwork.state": outcome.state}
    if outcome.code:
        attributes["cutwork.code"] = outcome.code
    _set_attributes(attributes, is_error=not outcome.ok)


def record_stage(name: str, start: float, end: float) -> None:
    """Add a child span for a stage; `start` and `end` are seconds of `time.perf_counter`."""
    if (tracer := get_tracer()) is None:
        return
    from opentelemetry.trace import get_current_span

    if get_current_span().is_recording():
        now, clock = time.time_ns(), time.perf_counter()
        start_ns, end_ns = (now - round((clock - moment) * 1e9) for moment in (start, end))
        tracer.start_span(name, start_time=start_ns).end(end_ns)


def _set_attributes(attributes: dict[str, str], *, is_error: bool = False) -> None:
    if get_tracer() is None:
        return
    from opentelemetry.trace import StatusCode, get_current_span

    span = get_current_span()
    span.set_attributes(attributes)
    if is_error:
        span.set_status(StatusCode.ERROR, attributes.get("cutwork.code"))
