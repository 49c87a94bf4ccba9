"""An HTTP proxy before the real S3 server that injects faults; signatures stay valid."""

import http.client
import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self

_APP: Final = re.compile(r"\bapp/(\S+)")
"""The place of `AWS_SDK_UA_APP_ID`, here the worker's name, in the User-Agent header."""
_UPSTREAM_TIMEOUT: Final = 30
"""The longest time in seconds that the real server may take."""


@dataclass(frozen=True)
class Reply:
    """A response of the real server."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Exchange(BaseHTTPRequestHandler):
    """One request, which a fault may forward, answer or drop."""

    protocol_version = "HTTP/1.1"
    proxy: ClassVar["S3Proxy"]
    _upstream: http.client.HTTPConnection | None = None

    @property
    def worker_name(self) -> str:
        """The name of the worker that sent the request, or an empty string."""
        match = _APP.search(self.headers.get("User-Agent", ""))
        return match[1] if match else ""

    def body(self) -> bytes:
        """Return the request's body; it must be read before the response is sent."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def pass_on(self) -> Reply:
        """Forward the request with its headers unchanged, `Host` included; return the response."""
        if self._upstream is None:
            self._upstream = http.client.HTTPConnection(
                "127.0.0.1", self.proxy.target, timeout=_UPSTREAM_TIMEOUT
            )
        connection = self._upstream
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "expect":  # The base class has answered it before the body was read.
                connection.putheader(name, value)
        connection.endheaders(self.body())
        response = connection.getresponse()
        headers = [
            (name, value)
            for name, value in response.getheaders()
            if name.lower() not in ("transfer-encoding", "connection", "content-length")
        ]
        data = response.read()
        length = response.headers.get("Content-Length") if self.command == "HEAD" else None
        headers.append(("Content-Length", length or str(len(data))))
        return Reply(response.status, tuple(headers), data)

    def answer(self, reply: Reply) -> None:
        """Send a response."""
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def handle_one_request(self) -> None:
        """Handle a request; a client that disconnects is not an error."""
        with suppress(ConnectionError):
            super().handle_one_request()
            return
        self.close_connection = True

    def finish(self) -> None:
        """Close the connections to the client and to the server."""
        if self._upstream is not None:
            self._upstream.close()
        with suppress(ConnectionError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _serve(self) -> None:
        fault = self.proxy.choose_fault(self)
        if fault is None:
            self.answer(self.pass_on())
        else:
            fault.inject(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - the base's names


class S3Fault(Protocol):
    """Handles a request in place of the proxy."""

    def inject(self, exchange: Exchange) -> None:
        """Handle the request."""


@dataclass(frozen=True)
class Refuse:
    """Responds with a status and an S3 error code."""

    status: int
    code: str
    headers: tuple[tuple[str, str], ...] = ()

    def inject(self, exchange: Exchange) -> None:
        """Send the response."""
        exchange.body()
        text = f"<Error><Code>{self.code}</Code><Message>made by a test</Message></Error>"
        data = b"" if exchange.command == "HEAD" else text.encode()
        headers = (*self.headers, ("Content-Type", "application/xml"))
        exchange.answer(Reply(self.status, (*headers, ("Content-Length", str(len(data)))), data))


@dataclass(frozen=True)
class CutBody:
    """Sends half of the real response's body and closes the connection."""

    def inject(self, exchange: Exchange) -> None:
        """Send the truncated response."""
        reply = exchange.pass_on()
        exchange.answer(Reply(reply.status, reply.headers, reply.body[: len(reply.body) // 2]))
        exchange.close_connection = True


@dataclass(frozen=True)
class Claim:
    """Sends the real response with a wrong Content-Length."""

    length: int

    def inject(self, exchange: Exchange) -> None:
        """Send the response."""
        reply = exchange.pass_on()
        headers = tuple(item for item in reply.headers if item[0] != "Content-Length")
        headers = (*headers, ("Content-Length", str(self.length)))
        exchange.answer(Reply(reply.status, headers, reply.body))
        exchange.close_connection = True


@dataclass(frozen=True)
class Hold:
    """Holds the request for some seconds or until it is released, then forwards it."""

    seconds: float = 60
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    holding_workers: list[str] = field(default_factory=list)
    """The names of the workers whose requests were held, in order."""

    def inject(self, exchange: Exchange) -> None:
        """Hold the request; it is carried out even if its client has disconnected."""
        self.holding_workers.append(exchange.worker_name)
        self.reached.set()
        self.released.wait(self.seconds)
        exchange.answer(exchange.pass_on())


@dataclass
class Rule:
    """The requests that a fault handles, and how many there were."""

    fault: S3Fault
    methods: tuple[str, ...]
    place: str
    times: int | None
    share: float
    hits: int = 0

    def matches(self, exchange: Exchange, draw: random.Random) -> bool:
        """Return whether the fault handles this request."""
        return (
            exchange.command in self.methods
            and exchange.path.startswith(f"/{self.place}")
            and (self.times is None or self.hits < self.times)
            and draw.random() < self.share
        )


class S3Proxy:
    """Forwards requests to the S3 server on a local port, except for faults; a context manager."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._draw = random.Random(0)
        handler = type("_Exchange", (Exchange,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="s3-proxy")
        self.port: int = self._server.server_address[1]

    @contextmanager
    def failing(
        self,
        fault: S3Fault,
        *methods: str,
        place: str = "",
        times: int | None = None,
        share: float = 1,
    ) -> Iterator[Rule]:
        """Apply a fault inside the block, to the first `times` requests of these methods.

        `place` is a bucket and the beginning of a key; `share` of the requests are affected.
        """
        rule = Rule(fault, methods, place, times, share)
        with self._lock:
            self._rules.append(rule)
        try:
            yield rule
        finally:
            with self._lock:
                self._rules.remove(rule)
            if isinstance(fault, Hold):
                fault.released.set()

    def choose_fault(self, exchange: Exchange) -> S3Fault | None:
        """Return the fault for a request and count it, or None."""
        with self._lock:
            for rule in self._rules:
                if rule.matches(exchange, self._draw):
                    rule.hits += 1
                    return rule.fault
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    # A connection that is kept open must not block the end of the process.
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: workers are killed in the middle of their requests."""
