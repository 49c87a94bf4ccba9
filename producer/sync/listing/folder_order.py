"""Detection of stores that list folder by folder; their listings must not start at a guess."""

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from producer.sync.listing.page import Page

_SERVER: Final = "SeaweedFS"
"""The beginning of the `Server` header of a store that lists so; proxies may hide the header."""
_BELOW_SLASH: Final = ".~~~~"
"""Appended to the name of a folder, it comes before all keys in the folder, as `.` is below `/`."""


def lists_by_folders(
    first: Page, fetch: Callable[[str], Page], *, prefix: str, after: str = ""
) -> bool:
    """Return whether a store lists folder by folder; `first` is its page of the keys above `after`.

    Sends one request, or two after a cursor, if the header does not tell. Such a store omits a
    folder from a listing that starts just below the keys in it. Where no key shows it, the answer
    is no, and keys out of order are an error later.
    """
    if first.server.startswith(_SERVER):
        return True
    keys = [entry.key for entry in first.entries]
    if any(left >= right for left, right in pairwise(keys)):
        return True
    key = next((key for key in (*keys, after) if "/" in key[len(prefix) :]), None)
    if key is None:
        # Above the cursor nothing may be left that shows it.
        return bool(after) and lists_by_folders(fetch(""), fetch, prefix=prefix)
    folder = prefix + key[len(prefix) :].partition("/")[0]
    entries = fetch(folder + _BELOW_SLASH).entries
    return not entries or entries[0].key > key
