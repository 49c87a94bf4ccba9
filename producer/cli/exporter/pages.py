"""The exporter's HTTP pages: `/metrics`, `/healthz` and `/readyz`."""

from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from producer.cli.exporter.metrics import Metrics
from producer.observability.http_server import Page, Pages


def exporter_pages(metrics: Metrics) -> Pages:
    """Return the pages; the exporter is ready while the broker answers."""
    # Without `auto_describe`, registering does not read the broker, which may not answer yet.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)

    def metrics_page(accept: str) -> Page:
        encode, content_type = choose_encoder(accept)
        return Page(encode(registry), content_type=content_type)

    def readiness_page(_accept: str) -> Page:
        if metrics.figures() is None:
            return Page(b"the broker does not answer\n", HTTPStatus.SERVICE_UNAVAILABLE)
        return Page(b"ok\n")

    return {
        "/metrics": metrics_page,
        "/healthz": lambda _: Page(b"ok\n"),
        "/readyz": readiness_page,
    }
