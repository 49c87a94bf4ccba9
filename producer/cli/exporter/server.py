"""The exporter's pages over HTTP: `/metrics`, `/healthz` and `/readyz`."""

import logging
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from producer.cli.exporter.metrics import Metrics

log = logging.getLogger(__name__)

_TEXT: Final = "text/plain; charset=utf-8"


class ExporterServer(ThreadingHTTPServer):
    """Listens from its making on, and answers while `serve_forever` runs."""

    daemon_threads = True

    def __init__(self, metrics: Metrics, *, host: str, port: int) -> None:
        """`OSError` where it cannot listen; port 0 is any that is free."""
        self.metrics = metrics
        self.registry = CollectorRegistry(auto_describe=False)
        # Without a look at the broker, which may be away for now.
        self.registry.register(metrics)
        super().__init__((host, port), _Pages)


class _Pages(BaseHTTPRequestHandler):
    server: ExporterServer
    timeout = 10  # A client that says nothing holds no thread for longer.

    def do_GET(self) -> None:
        match urlsplit(self.path).path:
            case "/metrics":
                encode, kind = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, encode(self.server.registry), kind=kind)
            case "/healthz":
                self._answer(HTTPStatus.OK, b"ok\n")
            case "/readyz" if self.server.metrics.figures() is None:
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, b"the broker does not answer\n")
            case "/readyz":
                self._answer(HTTPStatus.OK, b"ok\n")
            case _:
                self._answer(HTTPStatus.NOT_FOUND, b"expected /metrics, /healthz or /readyz\n")

    def _answer(self, status: HTTPStatus, body: bytes, *, kind: str = _TEXT) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        log.debug("%s: %s", self.address_string(), format % args)
