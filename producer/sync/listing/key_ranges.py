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

_PAGES_PER_RANGE: Final = 3
"""Longer ranges waste fewer requests at their ends, and hold more pages until they are due."""
_MAX_PAGES_AHEAD: Final = 2
"""Read and not taken yet, or being read, for each thread."""
_MIN_HALF_PAGES: Final = 5
"""Half pages that must seem to be left in a range, with the one that is being read."""
_FREE_GUESSES: Final = 2
_CLOSE_SECONDS: Final = 5.0


class _Range:
    """Keys above `low` and up to `high` that are not read yet, and pages that are not taken yet."""

    __slots__ = ("absorbed", "busy", "done", "high", "last_page", "low", "pages")

    def __init__(self, low: str, high: str | None) -> None:
        self.low = low
        self.high = high
        """None: to the end."""
        self.pages: deque[list[Entry]] = deque()
        self.busy = False
        self.done = False
        self.absorbed = False
        """Whether another range has taken it over, while a thread may still be reading it."""
        self.last_page: tuple[str, str, int] | None = None
        """First and last key of the last page, and how many there were."""


class KeyRanges:
    """One listing under way. `entries` is its only reader."""

    def __init__(self, fetch: Fetch, *, prefix: str, after: str, first: Page, threads: int) -> None:
        """`first` is the page of the keys above `after`; where it is all, no thread is started."""
        self._fetch = fetch
        self._thread_count = threads
        self._first = first
        self._ranges = deque([_Range(after, None)])
        self._space = KeySpace(prefix)
        self._lock = threading.Lock()
        self._work_ready = threading.Condition(self._lock)
        self._page_ready = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None
        self._closed = False
        self._last_taken: _Range = self._ranges[0]
        """The range taken last."""
        self._page_size = 1
        """Keys in a page, by the longest so far."""
        self._unread = 0
        """Keys read and not taken."""
        self._received = 0
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
                    self._unread -= len(page)
                    self._start_or_wake()
                    return page
                if self._error is not None:
                    raise self._error
                if not head.done:
                    self._start_or_wake()
                    self._page_ready.wait()
                elif len(self._ranges) == 1:
                    return None
                else:
                    self._last_taken = self._ranges.popleft()

    def _start_or_wake(self) -> None:
        if self._threads:
            self._work_ready.notify()
        elif not all(key_range.done for key_range in self._ranges):
            self._threads = [
                threading.Thread(target=self._run, name=f"listing-{number}", daemon=True)
                for number in range(self._thread_count)
            ]
            for thread in self._threads:
                thread.start()

    def _run(self) -> None:
        while True:
            try:
                with self._lock:
                    while (key_range := None if self._closed else self._next_range()) is None:
                        if self._closed or self._error is not None:
                            return
                        self._work_ready.wait()
                    key_range.busy = True
                    self._requests += 1
                page = self._fetch(key_range.low)
                with self._lock:
                    key_range.busy = False
                    if not key_range.absorbed:
                        self._store(key_range, page)
                    # A page is a reason for one guess more, beside what this thread does next.
                    self._work_ready.notify()
                    self._page_ready.notify()
            except BaseException as error:  # noqa: BLE001 - it is raised where the listing is read
                with self._lock:
                    self._error = error
                    self._work_ready.notify_all()
                    self._page_ready.notify()
                return

    def _store(self, key_range: _Range, page: Page) -> None:
        entries = page.entries
        check_order(entries, key_range.low)
        if page.truncated and not entries:
            raise OutOfOrder(f"nothing came after {key_range.low!r}, and there was to be more")
        if entries:
            self._page_size = max(self._page_size, len(entries))
            self._space.learn([entry.key for entry in entries])
            key_range.last_page = (entries[0].key, entries[-1].key, len(entries))
        key_range.done = not page.truncated
        self._absorb(key_range, entries[-1].key if page.truncated else None)
        if entries and key_range.high is not None and entries[-1].key >= key_range.high:
            key_range.done = True
            entries = [entry for entry in entries if entry.key <= key_range.high]
        if entries:
            key_range.low = entries[-1].key
            key_range.pages.append(entries)
            self._unread += len(entries)
            self._received += len(entries)

    def _absorb(self, key_range: _Range, last: str | None) -> None:
        """Join to a range those behind it that its page has read too; None: to the end."""
        next_index = self._ranges.index(key_range) + 1
        while next_index < len(self._ranges):
            follower = self._ranges[next_index]
            covered = last is None or (follower.high is not None and follower.high <= last)
            if follower.pages or not covered:
                return
            follower.absorbed = True
            key_range.high = follower.high
            del self._ranges[next_index]

    def _next_range(self) -> _Range | None:
        """The range to read a page of, perhaps a new one; None when there is nothing to do yet."""
        if self._error is not None:
            return None
        head = self._ranges[0]
        if not head.done and not head.busy and not head.pages:
            return head
        busy_ranges = sum(key_range.busy for key_range in self._ranges)
        limit = _MAX_PAGES_AHEAD * self._thread_count
        if self._unread + busy_ranges * self._page_size >= limit * self._page_size:
            return None
        for key_range in self._ranges:
            if not key_range.done and not key_range.busy:
                return key_range
        if self._requests >= 2 * self._received / self._page_size + _FREE_GUESSES:
            return None
        return self._split()

    def _split(self) -> _Range | None:
        last_page = self._last_taken.last_page
        for index, key_range in enumerate(self._ranges):
            last_page = key_range.last_page or last_page
            if key_range.done or last_page is None:
                continue
            split = self._split_key(key_range, last_page)
            if split is not None:
                upper = _Range(split, key_range.high)
                key_range.high = split
                self._ranges.insert(index + 1, upper)
                return upper
        return None

    def _split_key(self, key_range: _Range, last_page: tuple[str, str, int]) -> str | None:
        """A key some pages into a range that a thread is reading, if that much seems left of it."""
        first, last, count = last_page
        number = self._space.number
        page = (number(last) - number(first)) * self._page_size // count
        low = number(key_range.low)
        if page <= 0:
            return None
        ahead = _PAGES_PER_RANGE * page
        if key_range.high is not None:
            # Whole numbers: those of long keys are beyond what a float holds.
            remaining = number(key_range.high) - low
            if 2 * remaining < _MIN_HALF_PAGES * page:
                return None
            # Halves rather than a whole range and a rest that is not worth its request.
            ahead = min(ahead, page + (remaining - page) // 2)
        split = self._space.key(low + ahead)
        inside = (
            split is not None
            and key_range.low < split
            and (key_range.high is None or split < key_range.high)
        )
        return split if inside else None

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            self._work_ready.notify_all()
        for thread in self._threads:
            # A server that hangs must not hold up who has enough; its thread ends by its timeout.
            thread.join(_CLOSE_SECONDS)
