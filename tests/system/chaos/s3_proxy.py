"""An object store in front of the real one that fails as it is told; signatures stay right."""

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
"""Where a user agent has what `AWS_SDK_UA_APP_ID` says: here, which worker asks."""
_PATIENCE: Final = 30
"""Seconds the real store may take."""


@dataclass(frozen=True)
class Reply:
    """What the real store answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Exchange(BaseHTTPRequestHandler):
    """One request, which a fault may pass on, answer itself, or leave."""

    protocol_version = "HTTP/1.1"
    proxy: ClassVar["S3Proxy"]
    _upstream: http.client.HTTPConnection | None = None

    @property
    def asked_by(self) -> str:
        """The name of who asks, empty for nobody we named."""
        found = _APP.search(self.headers.get("User-Agent", ""))
        return found[1] if found else ""

    def body(self) -> bytes:
        """What was sent along; before an answer it must be read."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def pass_on(self) -> Reply:
        """The real store's answer; headers go there as they came, `Host` above all."""
        if self._upstream is None:
            self._upstream = http.client.HTTPConnection(
                "127.0.0.1", self.proxy.target, timeout=_PATIENCE
            )
        connection = self._upstream
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "expect":  # Answered here, before the body was read.
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
        """Send all of an answer."""
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def handle_one_request(self) -> None:
        """As in the base, where a client that hangs up is no error."""
        with suppress(ConnectionError):
            super().handle_one_request()
            return
        self.close_connection = True

    def finish(self) -> None:
        """End the connection on both sides."""
        if self._upstream is not None:
            self._upstream.close()
        with suppress(ConnectionError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        fault = self.proxy.chosen(self)
        if fault is None:
            self.answer(self.pass_on())
        else:
            fault.strike(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - the base's names


class S3Fault(Protocol):
    """What becomes of a request instead of being passed on."""

    def strike(self, exchange: Exchange) -> None:
        """Deal with it."""


@dataclass(frozen=True)
class Refuse:
    """Answer with a status and an S3 error code."""

    status: int
    code: str
    headers: tuple[tuple[str, str], ...] = ()

    def strike(self, exchange: Exchange) -> None:
        """Answer it."""
        exchange.body()
        text = f"<Error><Code>{self.code}</Code><Message>made by a test</Message></Error>"
        data = b"" if exchange.command == "HEAD" else text.encode()
        headers = (*self.headers, ("Content-Type", "application/xml"))
        exchange.answer(Reply(self.status, (*headers, ("Content-Length", str(len(data)))), data))


@dataclass(frozen=True)
class CutBody:
    """Send half of the real answer's body and end the connection."""

    def strike(self, exchange: Exchange) -> None:
        """Cut it."""
        reply = exchange.pass_on()
        exchange.answer(Reply(reply.status, reply.headers, reply.body[: len(reply.body) // 2]))
        exchange.close_connection = True


@dataclass(frozen=True)
class Claim:
    """Say that the object has so many bytes, and send what it has."""

    length: int

    def strike(self, exchange: Exchange) -> None:
        """Answer it."""
        reply = exchange.pass_on()
        headers = tuple(item for item in reply.headers if item[0] != "Content-Length")
        headers = (*headers, ("Content-Length", str(self.length)))
        exchange.answer(Reply(reply.status, headers, reply.body))
        exchange.close_connection = True


@dataclass(frozen=True)
class Hold:
    """Keep the request for some seconds, or until it is let go; then pass it on."""

    seconds: float = 60
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    holders: list[str] = field(default_factory=list)
    """Who asked, in order."""

    def strike(self, exchange: Exchange) -> None:
        """Hold it; a store that was told of a request carries it out though nobody listens."""
        self.holders.append(exchange.asked_by)
        self.reached.set()
        self.released.wait(self.seconds)
        exchange.answer(exchange.pass_on())


@dataclass
class Rule:
    """Which requests a fault strikes, and how many it did."""

    fault: S3Fault
    methods: tuple[str, ...]
    place: str
    times: int | None
    share: float
    struck: int = 0

    def takes(self, exchange: Exchange, draw: random.Random) -> bool:
        """Whether this request is struck."""
        return (
            exchange.command in self.methods
            and exchange.path.startswith(f"/{self.place}")
            and (self.times is None or self.struck < self.times)
            and draw.random() < self.share
        )


class S3Proxy:
    """Passes requests on to the S3 server on a port of this machine; a context manager."""

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
        """Strike requests inside the block: of these methods, below this place, the first `times`.

        `place` is a bucket and the beginning of a key.
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

    def chosen(self, exchange: Exchange) -> S3Fault | None:
        """The fault for a request, counted."""
        with self._lock:
            for rule in self._rules:
                if rule.takes(exchange, self._draw):
                    rule.struck += 1
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
    # A connection that is kept open must not keep the process.
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: workers are killed in the middle of their requests."""
