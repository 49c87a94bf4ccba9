"""One page of a listing, read from the XML that S3 answers.

boto3's own parser reads 12,000 keys a second on one core and holds the interpreter all the while;
lxml's reads twenty times as many and lets other threads run.
"""

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
    """What a listing says of an object."""

    key: str
    size: int
    """Bytes."""
    modified: str
    """UTC as `2024-01-31T23:59:59.000Z`, always of this form: the order of texts is that of times.
    """
    etag: str
    """Without quotes."""


_entry: Final[Callable[[tuple[str, int, str, str]], Entry]] = partial(tuple.__new__, Entry)
"""`Entry._make`, without a step in Python for each of millions."""


class Page(NamedTuple):
    """One answer to a request for a listing."""

    entries: list[Entry]
    folders: list[str]
    """What a delimiter cut off; empty without one."""
    truncated: bool
    """Whether there is more."""
    token: str | None
    """Where a next page goes on."""
    server: str = ""
    """What the store calls itself."""


class MalformedPage(ValueError):
    """What came is no page of a listing; the text says what it is."""


class OutOfOrder(ValueError):
    """Keys did not come in the order of S3; the text has two of them."""


def parse_page(body: bytes) -> Page:
    """Read the answer to ListObjectsV2, with keys decoded; raises `MalformedPage`."""
    try:
        # A parser of its own: a shared one would make threads wait for each other.
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise MalformedPage(f"expected XML, found {body[:80]!r} ({error})") from error
    space, _, name = root.tag.rpartition("}")
    space = space and space + "}"
    if name != "ListBucketResult":
        raise MalformedPage(f"expected ListBucketResult, found {name}")
    encoded = root.findtext(space + "EncodingType") == "url"

    def texts(tag: str) -> list[str]:
        return [element.text or "" for element in root.iter(space + tag)]

    keys, sizes, times, etags = map(texts, ("Key", "Size", "LastModified", "ETag"))
    if not len(keys) == len(sizes) == len(times) == len(etags):
        raise MalformedPage(
            f"expected Key, Size, LastModified and ETag of each object, found {len(keys)}, "
            f"{len(sizes)}, {len(times)} and {len(etags)}"
        )
    folders = [item.text or "" for item in root.iterfind(f"{space}CommonPrefixes/{space}Prefix")]
    if encoded:
        keys, folders = _decoded(keys), _decoded(folders)
    columns = (
        keys,
        _numbers(sizes),
        [time if len(time) == 24 and time[19] == "." else normal_time(time) for time in times],
        [etag.strip('"') for etag in etags],
    )
    return Page(
        list(map(_entry, zip(*columns, strict=True))),
        folders,
        root.findtext(space + "IsTruncated") == "true",
        root.findtext(space + "NextContinuationToken"),
    )


def normal_time(text: str) -> str:
    """A time of RFC 3339 as `Entry.modified` has it, cut to milliseconds."""
    if len(text) == 24 and text[19] == "." and text[23] == "Z":
        return text
    if len(text) == 20 and text[19] == "Z":
        return text[:19] + ".000Z"
    try:
        return time_text(datetime.fromisoformat(text))
    except ValueError as error:
        raise MalformedPage(f"expected a time such as 2024-01-31T23:59:59Z, found {text!r}") from (
            error
        )


def time_text(moment: datetime) -> str:
    """A moment as `Entry.modified` has it; one without a zone is UTC."""
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:23] + "Z"


def check_order(entries: list[Entry], after: str) -> None:
    """Raise `OutOfOrder` unless keys ascend from above `after`, by code points as by bytes."""
    keys = [after, *(entry.key for entry in entries)]
    if not all(map(lt, keys, keys[1:])):
        one, other = next(pair for pair in pairwise(keys) if pair[0] >= pair[1])
        raise OutOfOrder(f"{other!r} came after {one!r}")


def _numbers(texts: list[str]) -> list[int]:
    try:
        return list(map(int, texts))
    except ValueError as error:
        raise MalformedPage(f"expected sizes in bytes, found others ({error})") from error


def _decoded(keys: list[str]) -> list[str]:
    together = "".join(keys)
    return list(map(unquote_plus, keys)) if "%" in together or "+" in together else keys


class PageHandler:
    """A handler of botocore's `before-parse`: puts a `Page` in the place of what boto3 parses.

    Errors, among them those that come as a success, are left to botocore and its retries.
    """

    def __init__(self, at_once: int = 2) -> None:
        """`at_once`: a page as a tree has some megabytes, however many threads read pages."""
        self._parsing = threading.Semaphore(at_once)

    def __call__(
        self,
        response_dict: dict[str, Any],
        customized_response_dict: dict[str, Any],
        **_: object,
    ) -> None:
        """What botocore calls with each answer before it parses it."""
        body = response_dict["body"]
        if response_dict["status_code"] == 200 and b"<Error>" not in body[:200]:
            with self._parsing:
                page = parse_page(body)
            server = response_dict["headers"].get("server", "")
            customized_response_dict["Page"] = page._replace(server=server)
            response_dict["body"] = b"<ListBucketResult/>"
