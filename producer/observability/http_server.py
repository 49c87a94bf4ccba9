"""A small HTTP server for the metrics and health pages of a process."""

import io
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import urlsplit

log = logging.getLogger(__name__)


class Page(NamedTuple):
    """The answer to a request."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "text/plain; charset=utf-8"


Pages = Mapping[str, Callable[[str], Page]]
"""For each path a function from the request's `Accept` header to the page."""


class HttpServer(socketserver.ThreadingTCPServer):
    """Serves pages to GET requests, each in a thread of its own, without an access log."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, pages: Pages, *, host: str, port: int) -> None:
        """Listen on a port, 0 for any free one, without answering yet.

        Raises `OSError` or `OverflowError` if that is impossible.
        """
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self.pages = pages
        super().__init__((host, port), _Handler)

    def start(self) -> None:
        """Answer requests in a daemon thread until the process ends."""
        threading.Thread(target=self.serve_forever, name="cutwork-http", daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Log a bug in a page; a client that disconnects early is not worth a line."""
        if not isinstance(sys.exception(), OSError):
            log.exception("a request for metrics or health got no answer")


class DeadlineReader(io.RawIOBase):
    """Reads from a socket until a deadline that holds for all reads together.

    The timeout of a socket begins again with each read, so a client that sends a byte now and then
    would never meet it. Reads raise `TimeoutError` after the deadline.
    """

    def __init__(
        self,
        connection: socket.socket,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._connection = connection
        self._clock = clock
        self._deadline = clock() + seconds

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has arrived, at most until the deadline."""
        seconds = self._deadline - self._clock()
        if seconds <= 0:
            raise TimeoutError("expected a whole request within the time limit")
        self._connection.settimeout(seconds)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    server: HttpServer
    timeout = 10  # A client must not hold a thread for longer, however slowly it sends.
    server_version = "cutwork"
    sys_version = ""

    def setup(self) -> None:
        """Read the whole request within `timeout` seconds."""
        super().setup()
        self.rfile = io.BufferedReader(DeadlineReader(self.connection, self.timeout))

    def do_GET(self) -> None:
        make_page = self.server.pages.get(urlsplit(self.path).path, self._not_found)
        self.connection.settimeout(self.timeout)  # For the whole answer.
        page = make_page(self.headers.get("Accept", ""))
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        self.wfile.write(page.body)

    def _not_found(self, _accept: str) -> Page:
        expected = ", ".join(self.server.pages)
        return Page(f"expected one of {expected}\n".encode(), HTTPStatus.NOT_FOUND)

    def log_message(self, *_: object) -> None:
        """Log nothing: probes arrive every few seconds."""
