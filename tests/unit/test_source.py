"""The Content-Encoding of a source is undone within limits, or refused."""

import gzip
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest

from producer.contract.s3_uri import ImageRef
from worker.errors import CorruptImage, CutworkError, DecompressionBomb, UnsupportedImage
from worker.pipeline.source import Source, decode

REF = ImageRef(bucket="photos", key="a.bmp")
DATA = bytes(range(256)) * 40


def source(body: bytes, **response: Any) -> Source:
    def never(_: Source) -> Source:
        raise AssertionError

    return Source(
        REF,
        "etag",
        len(body),
        response,  # type: ignore[arg-type]  # only what is read
        read_body=lambda _: body,
        reopen=never,
        max_bytes=10**9,
    )


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", DATA),
        ("identity", DATA),
        ("aws-chunked", DATA),
        ("gzip", gzip.compress(DATA)),
        ("GZIP", gzip.compress(DATA)),
        ("x-gzip", gzip.compress(DATA)),
        ("aws-chunked, gzip", gzip.compress(DATA)),
        ("gzip,aws-chunked", gzip.compress(DATA)),
        ("deflate", zlib.compress(DATA)),
        ("gzip", gzip.compress(DATA[:5000]) + gzip.compress(DATA[5000:])),
        ("gzip", 15 * gzip.compress(b"") + gzip.compress(DATA)),
        ("gzip, gzip", gzip.compress(gzip.compress(DATA))),
        ("gzip", DATA),  # decoded by the store or a proxy, which kept the header
    ],
)
def test_an_encoded_body_is_decoded(encoding: str, body: bytes) -> None:
    opened = source(body, ContentEncoding=encoding)
    assert opened.read() == DATA
    assert opened.memory >= len(DATA)


def test_a_body_without_an_encoding_takes_its_own_length() -> None:
    assert source(DATA).memory == len(DATA)


@pytest.mark.parametrize(
    ("encoding", "body", "error"),
    [
        ("gzip", gzip.compress(DATA, mtime=0)[:-20], CorruptImage),
        ("gzip", gzip.compress(DATA, mtime=0)[:30] + bytes(50), CorruptImage),
        ("gzip", gzip.compress(DATA, mtime=0) + b"more", CorruptImage),
        ("gzip", gzip.compress(bytes(20 * 2**20), mtime=0), DecompressionBomb),
        ("gzip", 17 * gzip.compress(b"", mtime=0), DecompressionBomb),
        ("deflate", DATA, CorruptImage),
        ("br", DATA, UnsupportedImage),
        ("zstd", DATA, UnsupportedImage),
        ("gzip, br", DATA, UnsupportedImage),
        ("\x1b[31m", DATA, UnsupportedImage),
    ],
)
def test_what_cannot_be_decoded_is_said(
    encoding: str, body: bytes, error: type[CutworkError]
) -> None:
    with pytest.raises(error, match=r"^s3://photos/a\.bmp: expected"):
        source(body, ContentEncoding=encoding).read()


def test_the_limit_is_exact() -> None:
    body = gzip.compress(DATA)
    assert decode(body, "gzip", ref=REF, limit=len(DATA)) == DATA
    with pytest.raises(DecompressionBomb, match="at most 10,239 bytes"):
        decode(body, "gzip", ref=REF, limit=len(DATA) - 1)


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_the_time_is_that_of_the_store(date: str | None) -> None:
    headers = {"date": "Mon, 30 Nov 2026 07:00:00 GMT"}
    dated = source(DATA, ResponseMetadata={"HTTPHeaders": headers})
    assert dated.served_at == datetime(2026, 11, 30, 7, tzinfo=UTC)
    undated = source(DATA, ResponseMetadata={"HTTPHeaders": {"date": date} if date else {}})
    assert abs((undated.served_at - datetime.now(UTC)).total_seconds()) < 3600
