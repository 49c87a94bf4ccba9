"""A source object that is open for reading, and the decoding of its `Content-Encoding`."""

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, Self

from producer.contract.s3_uri import ImageRef
from worker.errors import CorruptImage, DecompressionBomb, UnsupportedImage

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef

_STALE_SECONDS: Final = 10.0
"""After this time the object store may have closed a connection that was not read from."""
_MIN_DECODED_BYTES: Final = 16 * 2**20
_MAX_EXPANSION: Final = 8
"""An encoded source may grow to this multiple of its size, or to 16 MiB if that is more."""
_MAX_MEMBERS: Final = 16
"""A member of gzip may be empty: millions of them fit into an object that expands to nothing."""
_NO_ENCODINGS: Final = ("", "identity", "aws-chunked")
"""Encodings that leave an object as it is; the last one is only about its upload."""
_ZLIB: Final = ("gzip", "x-gzip", "deflate")
_EITHER_HEADER: Final = 47
"""zlib's window bits for gzip or zlib, whichever the header says."""


@dataclass(frozen=True)
class Source:
    """An object opened for reading, with its ETag known before its body is read."""

    ref: ImageRef
    etag: str
    length: int
    """Bytes of the object as stored."""
    response: "GetObjectOutputTypeDef"
    read_body: Callable[["Source"], bytes]
    """Reads the body of the response, translating its errors."""
    reopen: Callable[["Source"], "Source"]
    """Opens the object again, if it still has the same ETag."""
    max_bytes: int
    opened_at: float = field(default_factory=time.monotonic)
    """Seconds of the monotonic clock."""

    @property
    def modified(self) -> datetime | None:
        """When the object was written; None if the store does not say."""
        return self.response.get("LastModified")

    @property
    def served_at(self) -> datetime:
        """The time of the store's clock when it sent the response; of this one without a date."""
        try:
            date = self.response["ResponseMetadata"]["HTTPHeaders"]["date"]
            return parsedate_to_datetime(date).astimezone(UTC)
        except (KeyError, ValueError, OverflowError):
            return datetime.now(UTC)

    @property
    def content_encodings(self) -> tuple[str, ...]:
        """The encodings to undo, in the order in which they were applied."""
        items = self.response.get("ContentEncoding", "").lower().split(",")
        return tuple(item for item in map(str.strip, items) if item not in _NO_ENCODINGS)

    @property
    def memory(self) -> int:
        """The bytes that `read` takes at most."""
        if not self.content_encodings:
            return self.length
        return self.length + min(
            self.max_bytes, max(_MIN_DECODED_BYTES, _MAX_EXPANSION * self.length)
        )

    def close(self) -> None:
        """Release the connection, and drop an unread body."""
        self.response["Body"].close()

    def read(self) -> bytes:
        """Return the whole decoded body; raise `StorageUnavailable` if it breaks off.

        A source that has waited for a model or for memory is opened again, because the object store
        may have closed the connection; then it must still have the same ETag.
        """
        if time.monotonic() - self.opened_at > _STALE_SECONDS:
            self.close()
            with self.reopen(self) as reopened:
                return reopened.read()
        data = self.read_body(self)
        for encoding in reversed(self.content_encodings):
            data = decode(data, encoding, ref=self.ref, limit=self.memory - self.length)
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def decode(data: bytes, encoding: str, *, ref: ImageRef, limit: int) -> bytes:
    """Undo one content encoding; the result has at most `limit` bytes.

    Some stores decode a body and keep the header, so one that does not begin as gzip does is left
    as it is.
    Raises `UnsupportedImage`, `CorruptImage` or `DecompressionBomb`.
    """
    if encoding not in _ZLIB:
        raise UnsupportedImage(
            f"{ref}: expected no Content-Encoding, gzip or deflate, found {encoding!r:.50}; store "
            "the image without it"
        )
    if encoding != "deflate" and not data.startswith(b"\x1f\x8b"):
        return data
    parts: list[bytes] = []
    free = limit
    while data:
        if len(parts) == _MAX_MEMBERS:
            raise DecompressionBomb(
                f"{ref}: expected at most {_MAX_MEMBERS} members of {encoding}, found more; store "
                "the image without it"
            )
        decoder = zlib.decompressobj(_EITHER_HEADER)
        try:
            parts.append(decoder.decompress(data, free + 1))
        except zlib.error as error:
            raise CorruptImage(f"{ref}: expected a body in {encoding}, found {error}") from error
        free -= len(parts[-1])
        if free < 0:
            raise DecompressionBomb(
                f"{ref}: expected an object that its Content-Encoding ({encoding}) expands to at "
                f"most {limit:,} bytes, found more; store the image without it"
            )
        if not decoder.eof:
            raise CorruptImage(f"{ref}: expected a whole body in {encoding}, found a part")
        data = decoder.unused_data  # gzip may have several members
    return b"".join(parts)
