"""Which outputs are there, looked up in a listing that is read alongside that of the sources."""

from collections.abc import Callable, Iterator
from typing import Final

from producer.sync.listing.page import Entry

_WINDOW: Final = 10_000


class ExistingOutputs:
    """When outputs were written, for keys that come nearly in order.

    Sources come in order and their outputs nearly so: b.jpg is before b.k.jpg, but b.k.png before
    b.png. So what was read last is kept for a while, and what lies before it is asked for singly:
    right for any order, quick for a near one, and of bounded memory.
    """

    def __init__(
        self,
        entries: Iterator[Entry],
        *,
        after: str,
        find_object: Callable[[str], Entry | None],
        window: int = _WINDOW,
    ) -> None:
        """`entries` are all objects above the key `after`, in order; `find_object` asks for one."""
        self._entries = entries
        self._find_object = find_object
        self._half_window = max(1, window // 2)
        self._forgotten_up_to = after
        """Up to here nothing is remembered."""
        self._read_up_to_key = after
        self._older: dict[str, str] = {}
        self._newer: dict[str, str] = {}
        self.lookups = 0
        """How many were asked for singly."""

    def modified(self, key: str) -> str | None:
        """When the object was written, as `Entry.modified`; None where there is none."""
        if key <= self._forgotten_up_to:
            self.lookups += 1
            entry = self._find_object(key)
            return entry.modified if entry else None
        if key > self._read_up_to_key:
            self._read_up_to(key)
        return self._newer.get(key) or self._older.get(key)

    def _read_up_to(self, key: str) -> None:
        newer = self._newer
        for entry in self._entries:
            newer[entry.key] = entry.modified
            self._read_up_to_key = entry.key
            if len(newer) >= self._half_window:
                if self._older:
                    self._forgotten_up_to = next(reversed(self._older))
                self._older = newer
                self._newer = newer = {}
            if entry.key >= key:
                return
