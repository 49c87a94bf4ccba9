"""Existing outputs, looked up in a listing that is read in step with that of the sources."""

from collections.abc import Callable, Iterator
from typing import Final

from producer.sync.listing.page import Entry

_MAX_ENTRIES: Final = 10_000


class ExistingOutputs:
    """The times at which outputs were written, for keys that come nearly in order.

    Sources come in order and their outputs nearly so: b.jpg precedes b.k.jpg, but b.k.png precedes
    b.png. Therefore the last entries read are kept, and a key before them is looked up by a request
    of its own. The result is correct for any order, fast for a near one, and memory is bounded.
    """

    def __init__(
        self,
        entries: Iterator[Entry],
        *,
        after: str,
        find_object: Callable[[str], Entry | None],
        max_entries: int = _MAX_ENTRIES,
    ) -> None:
        """`entries` are all objects above the key `after`, in order; `find_object` looks one up.

        Between half of `max_entries` and all of them are kept.
        """
        self._entries = entries
        self._find_object = find_object
        self._half_size = max(1, max_entries // 2)
        self._last_dropped_key = after
        """Entries up to this key are not kept."""
        self._last_read_key = after
        self._older: dict[str, str] = {}
        self._newer: dict[str, str] = {}
        self.lookups = 0
        """The number of single lookups."""

    def modified(self, key: str) -> str | None:
        """Return when the object was written, as `Entry.modified`; None if it does not exist."""
        if key <= self._last_dropped_key:
            self.lookups += 1
            entry = self._find_object(key)
            return entry.modified if entry else None
        if key > self._last_read_key:
            self._read_up_to(key)
        return self._newer.get(key) or self._older.get(key)

    def _read_up_to(self, key: str) -> None:
        newer = self._newer
        for entry in self._entries:
            newer[entry.key] = entry.modified
            self._last_read_key = entry.key
            if len(newer) >= self._half_size:
                if self._older:
                    self._last_dropped_key = next(reversed(self._older))
                self._older = newer
                self._newer = newer = {}
            if entry.key >= key:
                return
