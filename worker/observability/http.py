"""One port that tells of this worker: `/metrics`, `/healthz` and `/readyz`."""

import json
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from producer.config.settings import SettingsError
from worker.observability.health import Check, Health

log = logging.getLogger(__name__)

_JSON: Final = "application/json"

Page = Callable[[], tuple[HTTPStatus, str, bytes]]
"""Makes the status, the content type and the body of an answer."""


def serve(*, host: str, port: int, registry: CollectorRegistry, health: Health) -> None:
    """Answer on a port until the process ends, which this does not put off.

    `SettingsError` where the port cannot be had.
    """
    pages: dict[str, Page] = {
        "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)),
        "/healthz": lambda: _report(health.liveness()),
        "/readyz": lambda: _report(health.readiness()),
    }
    try:
        server = _Server(host, port, pages)
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"CUTWORK_METRICS_PORT={port}: expected a free port of {host} "
            f"(CUTWORK_METRICS_HOST), found: {error}; choose another, or 0 for none"
        ) from error
    threading.Thread(target=server.serve_forever, name="cutwork-metrics", daemon=True).start()


def _report(checks: Sequence[Check]) -> tuple[HTTPStatus, str, bytes]:
    ok = all(check.ok for check in checks)
    body = {
        "ok": ok,
        "checks": {check.name: {"ok": check.ok, "found": check.found} for check in checks},
    }
    status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
    return status, _JSON, json.dumps(body).encode() + b"\n"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str, port: int, pages: Mapping[str, Page]) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self.pages = pages
        super().__init__((host, port), _Handler)

    def handle_error(self, *_: object) -> None:
        """A probe that hung up is no news; anything else is a fault of ours."""
        if not isinstance(sys.exception(), OSError):
            log.exception("a request for metrics or health got no answer")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # Nobody holds a thread by saying nothing.
    server_version = "cutwork"
    sys_version = ""

    def do_GET(self) -> None:
        page = self.server.pages.get(urlsplit(self.path).path)
        status, content_type, body = (
            page() if page else (HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")
        )
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Probes come every few seconds: they are no news."""
