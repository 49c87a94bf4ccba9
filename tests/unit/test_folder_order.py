"""Whether a store lists folder by folder shows in what it lists, not only in its name."""

from collections.abc import Callable

import pytest

from producer.sync.listing.folder_order import lists_by_folders
from producer.sync.listing.page import Entry, Page

KEYS = ["in/0", "in/a-b", "in/a.b", "in/a/b", "in/a/c", "in/ab", "in/z"]


def page(keys: list[str], server: str = "") -> Page:
    entries = [Entry(key, 1, "2024-01-31T00:00:00.000Z", "e") for key in keys]
    return Page(entries, [], is_truncated=True, token=None, server=server)


def by_bytes(after: str) -> Page:
    return page([key for key in sorted(KEYS) if key > after][:3])


def by_folders(after: str) -> Page:
    order = sorted(KEYS, key=lambda key: key.split("/"))
    return page([key for key in order if key.split("/") > after.split("/")][:3])


@pytest.mark.parametrize("after", ["", "in/0", "in/a-b", "in/a/b", "in/a/c", "in/ab", "in/z"])
@pytest.mark.parametrize(("store", "expected"), [(by_bytes, False), (by_folders, True)])
def test_a_listing_that_starts_below_a_folder_shows_it(
    store: Callable[[str], Page], expected: bool, after: str
) -> None:
    assert lists_by_folders(store(after), store, prefix="in/", after=after) is expected


def never(_: str) -> Page:
    raise AssertionError


def test_no_request_is_sent_where_it_is_known() -> None:
    assert lists_by_folders(page(["in/a/b"], "SeaweedFS 4"), never, prefix="in/")
    assert lists_by_folders(page(["in/a/b", "in/a-b"]), never, prefix="in/")
    assert not lists_by_folders(page(["in/a", "in/b"]), never, prefix="in/")
