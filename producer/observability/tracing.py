"""OpenTelemetry traces that cross the queue, if `cutwork[otel]` is installed.

`Client` uses the tracer provider of its process, so the jobs that a service submits inside a span
are part of that trace. Cutwork's own programs set up a provider if the environment names an
endpoint.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from producer.contract.job import Job

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

HEADER: Final = "traceparent"
"""The message header with the span that the message was sent in. https://www.w3.org/TR/trace-context/"""
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def open_traces(service: str) -> None:
    """Export this process's traces by OTLP over HTTP, if the SDK's own variables name an endpoint.

    `service` is the service's name unless `OTEL_SERVICE_NAME` is set. An existing tracer provider
    is kept.
    """
    endpoints = [name for name in _ENDPOINTS if os.environ.get(name)]
    if not endpoints or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        log.warning("%s is set, but no traces are sent: install cutwork[otel]", endpoints[0])
        return
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    name = os.environ.get("OTEL_SERVICE_NAME") or service
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


@contextmanager
def submission_span(job: Job) -> Iterator[dict[str, Any]]:
    """Open a span for sending a job; yield the headers that let its worker continue the trace."""
    headers: dict[str, Any] = {}
    if (tracer := get_tracer()) is None:
        yield headers
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    with tracer.start_as_current_span(
        "cutwork submit", kind=SpanKind.PRODUCER, attributes=span_attributes(job)
    ):
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        if HEADER in carrier:
            headers[HEADER] = carrier[HEADER]
        yield headers


def span_attributes(job: Job) -> dict[str, str]:
    """Return the attributes of a job's spans, without object keys, which may contain secrets."""
    attributes = {"cutwork.job_id": job.id, "cutwork.source.bucket": job.source.bucket}
    run = job.run
    return attributes | ({"cutwork.run_id": run} if run else {})


@cache
def get_tracer() -> "Tracer | None":
    """Return Cutwork's tracer, None if OpenTelemetry is not installed."""
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    return trace.get_tracer("cutwork")
