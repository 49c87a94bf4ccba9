"""A listing in key order, read in several places at once.

S3 answers a page at a time and each page needs the one before it, so one listing is as slow as its
round trips. Here the keys are cut into ranges, each read by one thread at a time. Which keys there
are nobody knows: the first range is everything, and an idle thread cuts the earliest range that
seems to have pages left at a guessed key. Correct for any cut; a bad guess costs a request, and
guesses stop where they cost more than they bring.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from producer.sync.listing.key_space import KeySpace
from producer.sync.listing.page import Entry, OutOfOrder, Page, check_order

Fetch = Callable[[str], Page]
"""The page of the keys above one; "" is the beginning."""

_PAGES_A_RANGE: Final = 3
"""Longer ranges waste fewer requests at their ends, and hold more pages until they are due."""
_PAGES_AHEAD: Final = 2
"""Read and not taken yet, or being read, for each thread."""
_WORTH_A_CUT: Final = 5
"""Half pages that must seem to be left in a range, with the one that is being read."""
_FREE_GUESSES: Final = 2
_CLOSE_SECONDS: Final = 5.0


class _Range:
    """Keys above `low` and up to `high` that are not read yet, and pages that are not taken yet."""

    __slots__ = ("busy", "done", "high", "low", "pages", "read", "void")

    def __init__(self, low: str, high: str | None) -> None:
        self.low = low
        self.high = high
        """None: to the end."""
        self.pages: deque[list[Entry]] = deque()
        self.busy = False
        self.done = False
        self.void = False
        """Whether another range has taken it over, while a thread may still be reading it."""
        self.read: tuple[str, str, int] | None = None
        """First and last key of the last page, and how many there were."""


class KeyRanges:
    """One listing under way. `entries` is its only reader."""

    def __init__(
        self, fetch: Fetch, *, prefix: str, after: str, first: Page, parallel: int
    ) -> None:
        """`first` is the page of the keys above `after`; where it is all, no thread is started."""
        self._fetch = fetch
        self._parallel = parallel
        self._first = first
        self._ranges = deque([_Range(after, None)])
        self._space = KeySpace(prefix)
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._ready = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None
        self._closed = False
        self._passed: _Range = self._ranges[0]
        """The range taken last."""
        self._full = 1
        """Keys in a page, by the longest so far."""
        self._ahead = 0
        """Keys read and not taken."""
        self._kept = 0
        self._requests = 1

    @property
    def requests(self) -> int:
        """Pages asked for so far, the first among them."""
        return self._requests

    def entries(self) -> Iterator[Entry]:
        """Everything, in key order; raises what `fetch` raised, and `OutOfOrder`."""
        try:
            self._store(self._ranges[0], self._first)
            while (page := self._take()) is not None:
                yield from page
        finally:
            self._close()

    def _take(self) -> list[Entry] | None:
        with self._lock:
            while True:
                head = self._ranges[0]
                if head.pages:
                    page = head.pages.popleft()
                    self._ahead -= len(page)
                    self._start_or_wake()
                    return page
                if self._error is not None:
                    raise self._error
                if not head.done:
                    self._start_or_wake()
                    self._ready.wait()
                elif len(self._ranges) == 1:
                    return None
                else:
                    self._passed = self._ranges.popleft()

    def _start_or_wake(self) -> None:
        if self._threads:
            self._work.notify()
        elif not all(one.done for one in self._ranges):
            self._threads = [
                threading.Thread(target=self._run, name=f"listing-{number}", daemon=True)
                for number in range(self._parallel)
            ]
            for thread in self._threads:
                thread.start()

    def _run(self) -> None:
        while True:
            try:
                with self._lock:
                    while (chosen := None if self._closed else self._choose()) is None:
                        if self._closed or self._error is not None:
                            return
                        self._work.wait()
                    chosen.busy = True
                    self._requests += 1
                page = self._fetch(chosen.low)
                with self._lock:
                    chosen.busy = False
                    if not chosen.void:
                        self._store(chosen, page)
                    # A page is a reason for one guess more, beside what this thread does next.
                    self._work.notify()
                    self._ready.notify()
            except BaseException as error:  # noqa: BLE001 - it is raised where the listing is read
                with self._lock:
                    self._error = error
                    self._work.notify_all()
                    self._ready.notify()
                return

    def _store(self, one: _Range, page: Page) -> None:
        entries = page.entries
        check_order(entries, one.low)
        if page.truncated and not entries:
            raise OutOfOrder(f"nothing came after {one.low!r}, and there was to be more")
        if entries:
            self._full = max(self._full, len(entries))
            self._space.learn([entry.key for entry in entries])
            one.read = (entries[0].key, entries[-1].key, len(entries))
        one.done = not page.truncated
        self._take_over(one, entries[-1].key if page.truncated else None)
        if entries and one.high is not None and entries[-1].key >= one.high:
            one.done = True
            entries = [entry for entry in entries if entry.key <= one.high]
        if entries:
            one.low = entries[-1].key
            one.pages.append(entries)
            self._ahead += len(entries)
            self._kept += len(entries)

    def _take_over(self, one: _Range, last: str | None) -> None:
        """Join to a range those behind it that its page has read too; None: to the end."""
        behind = self._ranges.index(one) + 1
        while behind < len(self._ranges):
            other = self._ranges[behind]
            covered = last is None or (other.high is not None and other.high <= last)
            if other.pages or not covered:
                return
            other.void = True
            one.high = other.high
            del self._ranges[behind]

    def _choose(self) -> _Range | None:
        """The range to read a page of, perhaps a new one; None when there is nothing to do yet."""
        if self._error is not None:
            return None
        head = self._ranges[0]
        if not head.done and not head.busy and not head.pages:
            return head
        under_way = sum(one.busy for one in self._ranges)
        limit = _PAGES_AHEAD * self._parallel
        if self._ahead + under_way * self._full >= limit * self._full:
            return None
        for one in self._ranges:
            if not one.done and not one.busy:
                return one
        if self._requests >= 2 * self._kept / self._full + _FREE_GUESSES:
            return None
        return self._cut()

    def _cut(self) -> _Range | None:
        read = self._passed.read
        for index, one in enumerate(self._ranges):
            read = one.read or read
            if one.done or read is None:
                continue
            at = self._cut_at(one, read)
            if at is not None:
                new = _Range(at, one.high)
                one.high = at
                self._ranges.insert(index + 1, new)
                return new
        return None

    def _cut_at(self, one: _Range, read: tuple[str, str, int]) -> str | None:
        """A key some pages into a range that a thread is reading, if that much seems left of it."""
        first, last, count = read
        number = self._space.number
        page = (number(last) - number(first)) * self._full // count
        low = number(one.low)
        if page <= 0:
            return None
        ahead = _PAGES_A_RANGE * page
        if one.high is not None:
            # Whole numbers: those of long keys are beyond what a float holds.
            left = number(one.high) - low
            if 2 * left < _WORTH_A_CUT * page:
                return None
            # Halves rather than a whole range and a rest that is not worth its request.
            ahead = min(ahead, page + (left - page) // 2)
        at = self._space.key(low + ahead)
        inside = at is not None and one.low < at and (one.high is None or at < one.high)
        return at if inside else None

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            self._work.notify_all()
        for thread in self._threads:
            # A server that hangs must not hold up who has enough; its thread ends by its timeout.
            thread.join(_CLOSE_SECONDS)
