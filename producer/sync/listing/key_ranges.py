"""A listing in key order, read in several places at once.

S3 returns one page at a time and each page needs the one before it, so one listing is as slow as
its round trips. Here the keys are split into ranges, each read by one thread at a time. The keys
are not known in advance: the first range is everything, and an idle thread splits the earliest
range that seems to have pages left, at a guessed key. The result is correct for any split; a bad
guess costs a request, and guessing stops when it costs more than it saves.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from producer.sync.listing.key_space import KeySpace
from producer.sync.listing.page import Entry, OutOfOrder, Page, check_order

Fetch = Callable[[str], Page]
"""Returns the page of the keys above a key; "" is the beginning."""

_PAGES_PER_RANGE: Final = 3
"""Longer ranges waste fewer requests at their ends, but buffer more pages until they are due."""
_MAX_PAGES_AHEAD: Final = 2
"""Pages per thread that are buffered or being read."""
_MIN_HALF_PAGES: Final = 5
"""Half pages that a range must seem to have left to be split, with the page being read."""
_FREE_GUESSES: Final = 2
"""Requests that may exceed twice the number of full pages before guessing stops."""
_CLOSE_SECONDS: Final = 5.0


@dataclass(slots=True, eq=False)
class _Range:
    """Keys above `low` and up to `high` to be read, and the pages before them to be taken."""

    low: str
    high: str | None
    """None stands for the end of the listing."""
    pages: deque[list[Entry]] = field(default_factory=deque)
    is_busy: bool = False
    is_done: bool = False
    is_absorbed: bool = False
    """Whether another range contains it now; a thread may still be reading it."""
    last_page: tuple[str, str, int] | None = None
    """The first and the last key of the last page, and the number of its keys."""


class KeyRanges:
    """One listing in progress, read by `entries` alone."""

    def __init__(self, fetch: Fetch, *, prefix: str, after: str, first: Page, threads: int) -> None:
        """`first` is the page of the keys above `after`; no thread starts if no page follows it."""
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
        self._is_closed = False
        self._last_taken = self._ranges[0]
        """The range whose pages were taken last."""
        self._page_size = 1
        """The number of keys in the longest page so far."""
        self._buffered = 0
        """The number of keys that are read and not taken."""
        self._keys_read = 0
        self.requests = 1
        """The number of pages requested so far, including the first."""

    def entries(self) -> Iterator[Entry]:
        """Yield all entries in key order. Raises what `fetch` raises, and `OutOfOrder`."""
        try:
            self._store(self._ranges[0], self._first)
            while (page := self._take()) is not None:
                yield from page
        finally:
            with self._lock:
                self._is_closed = True
                self._work_ready.notify_all()
            for thread in self._threads:
                # A server that hangs must not block the reader: the read timeout ends its thread.
                thread.join(_CLOSE_SECONDS)

    def _take(self) -> list[Entry] | None:
        with self._lock:
            while True:
                head = self._ranges[0]
                if head.pages:
                    page = head.pages.popleft()
                    self._buffered -= len(page)
                    self._start_or_wake()
                    return page
                if self._error is not None:
                    raise self._error
                if not head.is_done:
                    self._start_or_wake()
                    self._page_ready.wait()
                elif len(self._ranges) == 1:
                    return None
                else:
                    self._last_taken = self._ranges.popleft()

    def _start_or_wake(self) -> None:
        if self._threads:
            self._work_ready.notify()
        elif not all(key_range.is_done for key_range in self._ranges):
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
                    while (key_range := None if self._is_closed else self._next_range()) is None:
                        if self._is_closed or self._error is not None:
                            return
                        self._work_ready.wait()
                    key_range.is_busy = True
                    self.requests += 1
                page = self._fetch(key_range.low)
                with self._lock:
                    key_range.is_busy = False
                    if not key_range.is_absorbed:
                        self._store(key_range, page)
                    # A page allows one more guess, besides what this thread does next.
                    self._work_ready.notify()
                    self._page_ready.notify()
            except BaseException as error:  # noqa: BLE001 - `_take` raises it again
                with self._lock:
                    self._error = error
                    self._work_ready.notify_all()
                    self._page_ready.notify()
                return

    def _store(self, key_range: _Range, page: Page) -> None:
        entries = page.entries
        check_order(entries, key_range.low)
        if page.is_truncated and not entries:
            raise OutOfOrder(f"an empty page came after {key_range.low!r} and is not the last")
        if entries:
            self._page_size = max(self._page_size, len(entries))
            self._space.learn([entry.key for entry in entries])
            key_range.last_page = (entries[0].key, entries[-1].key, len(entries))
        key_range.is_done = not page.is_truncated
        self._absorb(key_range, entries[-1].key if page.is_truncated else None)
        if entries and key_range.high is not None and entries[-1].key >= key_range.high:
            key_range.is_done = True
            entries = [entry for entry in entries if entry.key <= key_range.high]
        if entries:
            key_range.low = entries[-1].key
            key_range.pages.append(entries)
            self._buffered += len(entries)
            self._keys_read += len(entries)

    def _absorb(self, key_range: _Range, last: str | None) -> None:
        """Merge into a range its followers that its page covers, up to `last`; None is the end."""
        next_index = self._ranges.index(key_range) + 1
        while next_index < len(self._ranges):
            follower = self._ranges[next_index]
            is_covered = last is None or (follower.high is not None and follower.high <= last)
            if follower.pages or not is_covered:
                return
            follower.is_absorbed = True
            key_range.high = follower.high
            del self._ranges[next_index]

    def _next_range(self) -> _Range | None:
        """Return the range to read from next, perhaps a new one; None if a thread must wait."""
        if self._error is not None:
            return None
        head = self._ranges[0]
        if not head.is_done and not head.is_busy and not head.pages:
            return head
        busy_ranges = sum(key_range.is_busy for key_range in self._ranges)
        limit = _MAX_PAGES_AHEAD * self._thread_count
        if self._buffered + busy_ranges * self._page_size >= limit * self._page_size:
            return None
        for key_range in self._ranges:
            if not key_range.is_done and not key_range.is_busy:
                return key_range
        if self.requests >= 2 * self._keys_read / self._page_size + _FREE_GUESSES:
            return None
        return self._split()

    def _split(self) -> _Range | None:
        """Split the earliest range that seems long enough; return the new upper part."""
        last_page = self._last_taken.last_page
        for index, key_range in enumerate(self._ranges):
            last_page = key_range.last_page or last_page
            if key_range.is_done or last_page is None:
                continue
            split = self._split_key(key_range, last_page)
            if split is not None:
                upper = _Range(split, key_range.high)
                key_range.high = split
                self._ranges.insert(index + 1, upper)
                return upper
        return None

    def _split_key(self, key_range: _Range, last_page: tuple[str, str, int]) -> str | None:
        """Return a key some pages into a range being read, or None if it seems too short."""
        first, last, count = last_page
        number = self._space.number
        page = (number(last) - number(first)) * self._page_size // count
        low = number(key_range.low)
        if page <= 0:
            return None
        ahead = _PAGES_PER_RANGE * page
        if key_range.high is not None:
            # Integers, because the numbers of long keys exceed the range of a float.
            remaining = number(key_range.high) - low
            if 2 * remaining < _MIN_HALF_PAGES * page:
                return None
            # Two halves are better than one full range and a rest that is not worth its request.
            ahead = min(ahead, page + (remaining - page) // 2)
        split = self._space.key(low + ahead)
        if split is None or split <= key_range.low:
            return None
        return split if key_range.high is None or split < key_range.high else None
