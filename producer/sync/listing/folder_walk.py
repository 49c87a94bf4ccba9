"""A listing in key order from a store that lists folder by folder.

S3 orders keys by their bytes: `a-b` comes before `a/c`, as `-` is less than `/`. A store on top of
folders, such as SeaweedFS, answers all of folder `a` first, and what it lists from a key on leaves
out what S3 would not. Asked for one folder at a time, it can be put in order.
"""

from collections.abc import Callable, Iterator

from producer.sync.listing.page import Entry, OutOfOrder, Page

FetchFolder = Callable[[str, str | None], Page]
"""The page of a folder at a token: its objects, and its folders with a slash at their end."""


def walk(fetch: FetchFolder, *, prefix: str, after: str) -> Iterator[Entry]:
    """Everything under a prefix and above a key, in the order of S3, folder by folder."""
    pending: list[str] = []
    for key, entry in _folder(fetch, prefix):
        # Each lies within the range of the one before, so the last is the first in order.
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
    """The same entries; raises `OutOfOrder` at the first one that is not above the one before."""
    last = ""
    for entry in entries:
        if entry.key <= last:
            raise OutOfOrder(f"{entry.key!r} came after {last!r}")
        last = entry.key
        yield entry


def _folder(fetch: FetchFolder, prefix: str) -> Iterator[tuple[str, Entry | None]]:
    """What lies directly under a prefix, in the store's own order; None for a folder."""
    token = None
    while True:
        page = fetch(prefix, token)
        found: list[tuple[str, Entry | None]] = [(entry.key, entry) for entry in page.entries]
        found += [(folder, None) for folder in page.folders]
        yield from sorted(found, key=lambda item: item[0].replace("/", "\0"))
        token = page.token
        if not page.truncated or token is None:
            return
