"""How a listing is split into ranges of keys."""

import random
import threading
from bisect import bisect_right
from collections.abc import Callable

import pytest

from producer.sync.listing.key_ranges import KeyRanges
from producer.sync.listing.page import (
    Entry,
    OutOfOrder,
    Page,
)


def pages(keys: list[str], size: int, cursors: list[str]) -> Callable[[str], Page]:
    def fetch(after: str) -> Page:
        cursors.append(after)
        first = bisect_right(keys, after)
        entries = [Entry(key, 1, "2024-01-31T00:00:00.000Z", "e") for key in keys]
        return Page(entries[first : first + size], [], first + size < len(keys), None)

    return fetch


def shapes() -> dict[str, list[str]]:
    chance = random.Random(7)
    words = ["", "a", "b-", "ä", "𝄞", "\uffee", "/", "//", ".", "\x01", "9", "Z"]
    return {
        "long": ["p/" + (f"{number:08x}" * 40)[:300] for number in range(0, 2**32, 2**23)],
        "counter": [f"p/img-{number:06d}.jpg" for number in range(400)],
        "unpadded": sorted(f"p/{number}.jpg" for number in range(300)),
        "dates": [
            f"p/2024/{m:02d}/{d:02d}/{n:02d}" for m in (1, 2) for d in (1, 9) for n in (1, 5)
        ],
        "hexadecimal": sorted(f"p/{chance.getrandbits(64):016x}" for _ in range(400)),
        "one": ["p/"],
        "none": [],
        "anything": sorted({"p/" + "".join(chance.choices(words, k=6)) for _ in range(400)}),
        "clusters": sorted(
            f"p/{chance.choice('agz')}/{chance.randrange(300) ** 3}" for _ in range(300)
        ),
    }


@pytest.mark.parametrize("shape", shapes())
@pytest.mark.parametrize("size", [1, 7, 50])
def test_ranges_yield_every_entry_once(shape: str, size: int) -> None:
    keys = sorted(set(shapes()[shape]))
    for after in ("", *keys[::150], "p/b", "q"):
        cursors: list[str] = []
        fetch = pages(keys, size, cursors)
        ranges = KeyRanges(fetch, prefix="p/", after=after, first=fetch(after), threads=4)
        expected = [key for key in keys if key > after]
        assert [entry.key for entry in ranges.entries()] == expected
        assert ranges.requests == len(cursors)
        serial = max(1, -(-len(expected) // size))
        assert len(cursors) <= 2 * serial + 3
        if serial == 1:
            assert len(cursors) == 1


def test_reading_ahead_is_bounded_and_ends_with_the_reader() -> None:
    cursors: list[str] = []
    fetch = pages([f"p/{number:05d}" for number in range(5000)], 10, cursors)
    before = threading.active_count()
    entries = KeyRanges(fetch, prefix="p/", after="", first=fetch(""), threads=4).entries()
    for _ in range(100):
        next(entries)
    assert threading.active_count() == before + 4
    del entries  # a generator is closed when the last reference to it is dropped
    assert threading.active_count() == before
    # Ten pages read, two more per thread, and at most as many again for split guesses.
    assert len(cursors) <= 2 * (10 + 2 * 4) + 2


def test_an_error_in_a_thread_is_raised_to_the_reader() -> None:
    good = pages([f"p/{number:05d}" for number in range(100)], 10, [])

    def fetch(after: str) -> Page:
        if after > "p/00050":
            raise ConnectionResetError("gone")
        return good(after)

    before = threading.active_count()
    with pytest.raises(ConnectionResetError, match="gone"):
        list(KeyRanges(fetch, prefix="p/", after="", first=fetch(""), threads=4).entries())
    assert threading.active_count() == before


def test_a_store_that_lists_out_of_order_is_refused() -> None:
    page = Page([Entry("b", 1, "", ""), Entry("a", 1, "", "")], [], False, None)
    ranges = KeyRanges(lambda _: page, prefix="", after="", first=page, threads=1)
    with pytest.raises(OutOfOrder, match="'a' came after 'b'"):
        list(ranges.entries())
