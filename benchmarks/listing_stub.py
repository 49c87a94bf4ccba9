"""A stub of a huge bucket: only ListObjectsV2, with 50 ms per page and computed keys.

Run as a process of its own, `python -m benchmarks.listing_stub PORT`. A bucket's name says what is
in it: `counter-1000000` has that many keys of that shape, `counter-1000000-out` the outputs of all
but every tenth. Keys are computed from their number and found again by bisection.
"""

import asyncio
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final, overload
from urllib.parse import parse_qs, quote, unquote, urlsplit

LATENCY: Final = 0.05
"""Seconds per page of 1,000 keys, as S3 takes."""
MISSING: Final = 10
"""One output in this many is missing."""
_A_DAY: Final = 700
"""Photographs per day, in keys of the shape `dates`."""
_ETAG: Final = "&quot;9dd4e461268c8034f5c8564e155c67a6&quot;"


def _counter(number: int, _: int) -> str:
    return f"img-{number:08d}"


def _dates(number: int, _: int) -> str:
    day, photograph = divmod(number, _A_DAY)
    month, day = divmod(day, 28)
    year, month = divmod(month, 12)
    return f"{2020 + year}/{month + 1:02d}/{day + 1:02d}/IMG_{photograph + 1:04d}"


def _uuids(number: int, count: int) -> str:
    # Increasing, and practically random within each step.
    step = 2**128 // count
    return f"{number * step + (number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % step:032x}"


SHAPES: Final[dict[str, Callable[[int, int], str]]] = {
    "counter": _counter,
    "dates": _dates,
    "uuids": _uuids,
}


class Keys(Sequence[str]):
    """The ordered keys of a bucket, computed on demand."""

    def __init__(self, bucket: str) -> None:
        """`bucket` is a name as described above."""
        shape, count, *rest = bucket.split("-")
        self._shape = SHAPES[shape]
        self._count = int(count)
        self._outputs = bool(rest)

    def __len__(self) -> int:
        return self._count - self._count // MISSING if self._outputs else self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if self._outputs:
            return f"{self._shape(index + index // (MISSING - 1), self._count)}.png"
        return f"{self._shape(index, self._count)}.jpg"


def answer(target: str) -> bytes:
    """Return the response body for a request's path and query."""
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    prefix = query.get("prefix", "")
    after = query.get("continuation-token") or query.get("start-after", "")
    keys = Keys(unquote(parts.path).strip("/"))
    first = bisect_right(keys, after.removeprefix(prefix)) if after else 0
    page = keys[first : first + int(query.get("max-keys", 1000))]
    truncated = first + len(page) < len(keys)
    return "".join(_document(page, prefix, truncated=truncated)).encode()


def _document(page: list[str], prefix: str, *, truncated: bool) -> Iterator[str]:
    modified = "2024-01-31T23:59:59.000Z"
    yield (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>stub</Name>'
        f"<Prefix>{quote(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount><MaxKeys>1000</MaxKeys>"
        f"<EncodingType>url</EncodingType><IsTruncated>{str(truncated).lower()}</IsTruncated>"
    )
    if truncated:
        yield f"<NextContinuationToken>{prefix}{page[-1]}</NextContinuationToken>"
    begin = f"<Contents><Key>{quote(prefix)}"
    end = (
        f"</Key><LastModified>{modified}</LastModified><ETag>{_ETAG}</ETag>"
        "<Size>2345678</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )
    yield begin + (end + begin).join(page) + end if page else ""
    yield "</ListBucketResult>"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            due = asyncio.get_running_loop().time() + LATENCY
            body = answer(head.split(b" ", 2)[1].decode())
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n"
                % len(body)
            )
            writer.write(body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client has left
    finally:
        writer.close()


async def _main(port: int) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
