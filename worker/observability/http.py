"""The worker's HTTP pages: `/metrics`, `/healthz` and `/readyz`."""

import json
from collections.abc import Sequence
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from producer.config.settings import SettingsError
from producer.observability.http_server import HttpServer, Page, Pages
from worker.observability.health import Check, Health


def serve(*, host: str, port: int, registry: CollectorRegistry, health: Health) -> None:
    """Serve the pages from a daemon thread.

    Raises `SettingsError` if the process cannot listen on the port.
    """
    pages: Pages = {
        "/metrics": lambda _: Page(generate_latest(registry), content_type=CONTENT_TYPE_LATEST),
        "/healthz": lambda _: _health_page(health.liveness()),
        "/readyz": lambda _: _health_page(health.readiness()),
    }
    try:
        server = HttpServer(pages, host=host, port=port)
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"CUTWORK_METRICS_PORT={port}: expected a free port of {host} "
            f"(CUTWORK_METRICS_HOST), found: {error}; choose another, or 0 for none"
        ) from error
    server.start()


def _health_page(checks: Sequence[Check]) -> Page:
    ok = all(check.ok for check in checks)
    body = {
        "ok": ok,
        "checks": {check.name: {"ok": check.ok, "found": check.text} for check in checks},
    }
    status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
    return Page(json.dumps(body).encode() + b"\n", status, "application/json")
