"""A web server of model files that can break off bodies, ignore ranges and change content."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Request(NamedTuple):
    """A request and the status of its response."""

    path: str
    range: str | None
    status: int


@dataclass
class Site:
    """The server's files, behaviour and received requests."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    """Bytes after which the next bodies break off, one per body."""
    refusals: list[int] = field(default_factory=list)
    """Statuses with which the next requests are rejected, one per request."""
    etags: bool = True
    requests: list[Request] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


class _Handler(http.server.BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site = self.site
        data = site.files.get(self.path)
        status = site.refusals.pop(0) if site.refusals else 200 if data is not None else 404
        if status != 200 or data is None:
            self._head(status, 0)
            return
        etag = f'"{hash(data):x}"' if site.etags else None
        start = 0
        wanted = self.headers["Range"]
        if wanted and site.ranges and self.headers["If-Range"] in (None, etag):
            start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
        if start >= len(data):
            self._head(416, 0, {"Content-Range": f"bytes */{len(data)}"})
            return
        headers = {"ETag": etag} if etag else {}
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._head(status, len(data) - start, headers)
        end = start + site.breaks.pop(0) if site.breaks else len(data)
        self.wfile.write(data[start:end])
        if end < len(data):
            self.close_connection = True

    def _head(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.site.requests.append(Request(self.path, self.headers["Range"], status))
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a web server in threads."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def running_site() -> Iterator[Site]:
    site = Site()
    with serving(type("Handler", (_Handler,), {"site": site})) as site.url:
        yield site
