"""One page of a listing, parsed from the XML of S3's response.

boto3's parser reads 12,000 keys per second on one core and holds the interpreter lock throughout;
lxml reads twenty times as many and lets other threads run.
"""

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from operator import lt
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_plus

from lxml import etree


class Entry(NamedTuple):
    """An object in a listing."""

    key: str
    size: int
    """In bytes."""
    modified: str
    """When the object was written, in UTC, always as `2024-01-31T23:59:59.000Z`.

    In this form the order of the texts is the order of the times.
    """
    etag: str
    """Without quotes."""
    is_archived: bool = False
    """Whether the object cannot be read before it is restored from an archive class."""


_entry: Final[Callable[[tuple[str, int, str, str, bool]], Entry]] = partial(tuple.__new__, Entry)
"""`Entry._make` without a Python call for each of millions of entries."""


_ARCHIVE: Final = re.compile(rb"<StorageClass>\s*(?:GLACIER|DEEP_ARCHIVE)\s*<")
"""The classes that must be restored before they are read; GLACIER_IR need not."""


class Page(NamedTuple):
    """One response to ListObjectsV2."""

    entries: list[Entry]
    folders: list[str]
    """The common prefixes up to the delimiter; empty without a delimiter."""
    is_truncated: bool
    """Whether more pages follow."""
    token: str | None
    """The token with which the next page continues."""
    server: str = ""
    """The `Server` header of the store."""


class MalformedPage(ValueError):
    """A response is not a page of a listing; the message says what it is."""


class OutOfOrder(ValueError):
    """A store did not list keys in the order of S3; the message names two of them."""


def parse_page(body: bytes) -> Page:
    """Parse a response to ListObjectsV2 and decode its keys. Raises `MalformedPage`."""
    try:
        # One parser per page, because a shared one would make threads wait for each other.
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise MalformedPage(f"expected XML, found {body[:80]!r} ({error})") from error
    namespace, _, name = root.tag.rpartition("}")
    namespace = namespace and namespace + "}"
    if name != "ListBucketResult":
        raise MalformedPage(f"expected ListBucketResult, found {name}")

    def texts(tag: str) -> list[str]:
        return [element.text or "" for element in root.iter(namespace + tag)]

    keys, sizes, times, etags = map(texts, ("Key", "Size", "LastModified", "ETag"))
    if not len(keys) == len(sizes) == len(times) == len(etags):
        raise MalformedPage(
            f"expected Key, Size, LastModified and ETag of each object, found {len(keys)}, "
            f"{len(sizes)}, {len(times)} and {len(etags)}"
        )
    common_prefixes = root.iterfind(f"{namespace}CommonPrefixes/{namespace}Prefix")
    folders = [element.text or "" for element in common_prefixes]
    if root.findtext(namespace + "EncodingType") == "url":
        keys, folders = _decoded(keys), _decoded(folders)
    times = [
        time if len(time) == 24 and time[19] == "." else normalised_time(time) for time in times
    ]
    etags = [etag.strip('"') for etag in etags]
    is_truncated = root.findtext(namespace + "IsTruncated") == "true"
    token = root.findtext(namespace + "NextContinuationToken")
    archived = _archived(root, namespace) if _ARCHIVE.search(body) else [False] * len(keys)
    entries = list(map(_entry, zip(keys, _numbers(sizes), times, etags, archived, strict=True)))
    return Page(entries, folders, is_truncated, token)


def normalised_time(text: str) -> str:
    """Convert a time of RFC 3339 to the form of `Entry.modified`, truncated to milliseconds.

    A time beyond the years 1 to 9999 becomes the nearest one within. Raises `MalformedPage` for any
    other text.
    """
    if len(text) == 20 and text[19] == "Z":
        return text[:19] + ".000Z"
    try:
        return time_text(datetime.fromisoformat(text))
    except OverflowError:
        # In UTC this time is beyond the years that Python's calendar has.
        return "9999-12-31T23:59:59.999Z" if text > "5" else "0001-01-01T00:00:00.000Z"
    except ValueError as error:
        message = f"expected a time such as 2024-01-31T23:59:59Z, found {text!r}"
        raise MalformedPage(message) from error


def time_text(time: datetime) -> str:
    """Format a time like `Entry.modified`; a time without a zone is UTC."""
    utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:23] + "Z"


def check_order(entries: list[Entry], after: str) -> None:
    """Raise `OutOfOrder` unless the keys ascend and the first is above `after`.

    Order by code points is the same as order by UTF-8 bytes, which is that of S3.
    """
    keys = [after, *(entry.key for entry in entries)]
    if not all(map(lt, keys, keys[1:])):
        left, right = next(pair for pair in pairwise(keys) if pair[0] >= pair[1])
        raise OutOfOrder(f"{right!r} came after {left!r}")


def _archived(root: Any, namespace: str) -> list[bool]:
    """Return for each object whether it is in an archive class and has not been restored."""
    return [
        (item.findtext(namespace + "StorageClass") or "").strip() in ("GLACIER", "DEEP_ARCHIVE")
        and item.find(f"{namespace}RestoreStatus/{namespace}RestoreExpiryDate") is None
        for item in root.iterfind(namespace + "Contents")
    ]


def _numbers(texts: list[str]) -> list[int]:
    try:
        return list(map(int, texts))
    except ValueError as error:
        raise MalformedPage(f"expected sizes in bytes, found another text ({error})") from error


def _decoded(keys: list[str]) -> list[str]:
    joined = "".join(keys)
    return list(map(unquote_plus, keys)) if "%" in joined or "+" in joined else keys


class PageHandler:
    """A handler of botocore's `before-parse` event: replaces boto3's parsing by a `Page`.

    Errors are left to botocore and its retries, also those that arrive with status 200.
    """

    def __init__(self) -> None:
        # Bounds memory: the tree of a page takes several megabytes.
        self._parsing = threading.Semaphore(2)

    def __call__(
        self, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object
    ) -> None:
        """Handle one response, as botocore calls it before parsing."""
        body = response_dict["body"]
        if response_dict["status_code"] == 200 and b"<Error>" not in body[:200]:
            with self._parsing:
                page = parse_page(body)
            server = response_dict["headers"].get("server", "")
            customized_response_dict["Page"] = page._replace(server=server)
            response_dict["body"] = b"<ListBucketResult/>"
