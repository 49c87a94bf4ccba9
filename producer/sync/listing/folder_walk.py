"""A listing in key order from a store that lists folder by folder.

S3 orders keys by their bytes: `a-b` comes before `a/c`, because `-` is less than `/`. A store built
on folders, such as SeaweedFS, lists all of folder `a` first, and a listing that starts at a key
omits keys that S3 would return. Listings of single folders can be put in order.
"""

from collections.abc import Callable, Iterator

from producer.sync.listing.page import Entry, MalformedPage, OutOfOrder, Page

FetchFolder = Callable[[str, str | None], Page]
"""Returns the page of a folder at a token: its objects, and its folders with a trailing slash."""


def walk(fetch: FetchFolder, *, prefix: str, after: str) -> Iterator[Entry]:
    """Yield the objects under a prefix and above a key, in the order of S3."""
    pending: list[str] = []
    for key, entry in _folder(fetch, prefix):
        # The range of each pending folder contains that of the next, so the last is first in order.
        while pending and pending[-1] < key:
            yield from walk(fetch, prefix=pending.pop(), after=after)
        if entry is None:
            if key > after or after.startswith(key):
                pending.append(key)
        elif key > after:
            yield entry
    while pending:
        yield from walk(fetch, prefix=pending.pop(), after=after)


def in_key_order(entries: Iterator[Entry]) -> Iterator[Entry]:
    """Yield the same entries; raise `OutOfOrder` at one that is not above the one before it."""
    last_key = ""
    for entry in entries:
        if entry.key <= last_key:
            raise OutOfOrder(f"{entry.key!r} came after {last_key!r}")
        last_key = entry.key
        yield entry


def _folder(fetch: FetchFolder, prefix: str) -> Iterator[tuple[str, Entry | None]]:
    """Yield the objects and folders directly under a prefix, in the store's order.

    Folders have None instead of an entry.
    """
    token, is_truncated = None, True
    while is_truncated:
        page = fetch(prefix, token)
        items: list[tuple[str, Entry | None]] = [(entry.key, entry) for entry in page.entries]
        items += [(folder, None) for folder in page.folders]
        yield from sorted(items, key=lambda item: item[0].replace("/", "\0"))
        token, is_truncated = page.token, page.is_truncated
        if is_truncated and not token:
            raise MalformedPage(
                f"expected a token for the next page of the folder {prefix!r}, found none"
            )
