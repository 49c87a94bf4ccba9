"""Object stores that differ from S3, made of the real one: faults for `S3Proxy`."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from tests.system.chaos.s3_proxy import Exchange, Reply

_META: Final = "x-amz-meta-"


@dataclass(frozen=True)
class Odd:
    """Changes every real response."""

    change: Callable[[Reply], Reply]

    def inject(self, exchange: Exchange) -> None:
        """Send the changed response."""
        exchange.answer(self.change(exchange.pass_on()))


def with_headers(reply: Reply, change: Callable[[str, str], tuple[str, str] | None]) -> Reply:
    changed = (change(name, value) for name, value in reply.headers)
    return replace(reply, headers=tuple(item for item in changed if item))


def _with_body(reply: Reply, body: bytes) -> Reply:
    """Replace the body of a reply that has one; that to a HEAD request keeps its length."""
    if not reply.body:
        return reply
    return with_headers(
        replace(reply, body=body),
        lambda name, value: (name, str(len(body)) if name == "Content-Length" else value),
    )


def canonical(reply: Reply) -> Reply:
    """Write names of headers as Go's HTTP library does: rclone, Caddy and many other proxies."""
    return with_headers(reply, lambda name, value: (name.title(), value))


def without_server(reply: Reply) -> Reply:
    """Hide the name of the server, as nginx does."""
    return with_headers(
        reply, lambda name, value: (name, "nginx" if name.lower() == "server" else value)
    )


def without_metadata(reply: Reply) -> Reply:
    return with_headers(
        reply, lambda name, value: None if name.lower().startswith(_META) else (name, value)
    )


def with_opaque_etags(reply: Reply) -> Reply:
    """Give ETags that look like an MD5 and are none."""
    return with_headers(
        reply, lambda name, value: (name, value[::-1] if name.lower() == "etag" else value)
    )


def framed(reply: Reply) -> Reply:
    """Keep the frames of a checksum trailer as part of the object: other ETags, other bytes."""
    return with_opaque_etags(_with_body(reply, b"5\r\n" + reply.body))


def without_key_count(reply: Reply) -> Reply:
    return _with_body(reply, re.sub(rb"<KeyCount>\d+</KeyCount>", b"", reply.body))


def dated(text: str) -> Callable[[Reply], Reply]:
    """Give every object this time of modification."""
    return lambda reply: with_headers(
        reply, lambda name, value: (name, text if name.lower() == "last-modified" else value)
    )


def with_copied_etag(etag: str) -> Callable[[Reply], Reply]:
    """Give copies another ETag, as if another object had been copied."""
    pattern = re.compile(rb"<ETag>[^<]*</ETag>")
    return lambda reply: _with_body(reply, pattern.sub(f"<ETag>{etag}</ETag>".encode(), reply.body))
