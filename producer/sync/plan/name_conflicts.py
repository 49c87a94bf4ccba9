"""Name conflicts: sources whose outputs would have the same name, such as a/b.jpg and a/b.png."""

from collections.abc import Callable, Iterable

from producer.sync.plan.naming import split_key


class NameConflicts:
    """Detects conflicts among keys that come in order, however far apart, in little memory.

    All keys with one stem are in the range from the stem to the stem plus a slash, because a stem
    is followed by nothing or by a dot, and the slash is the character after the dot. Two such
    ranges are nested or disjoint, so the stems that may occur again form a stack.
    """

    def __init__(self, *, cursor: str, list_earlier: Callable[[str], Iterable[str]]) -> None:
        """`cursor` is the last key that an earlier process has planned, or "".

        `list_earlier` lists the keys that begin with a text, in order, without excluded ones.
        """
        self._cursor = cursor
        self._list_earlier = list_earlier
        self._open_ranges: list[tuple[str, str, str]] = []
        """Triples of a stem with its folder, the end of its range, and the first key with it."""

    def first_source(self, key: str) -> str | None:
        """Return the first key with the same folder and stem; None if it is this one."""
        open_ranges = self._open_ranges
        while open_ranges and key >= open_ranges[-1][1]:
            open_ranges.pop()
        dot = key.rfind(".")
        stem = key[:dot] if dot > key.rfind("/") + 1 else key
        for other_stem, _, first_source in open_ranges:
            if other_stem == stem:
                return first_source
        first = self._first_before_cursor(stem) if stem <= self._cursor else None
        open_ranges.append((stem, stem + "/", first or key))
        return first

    def _first_before_cursor(self, stem: str) -> str | None:
        for beginning in (stem, stem + "."):
            for key in self._list_earlier(beginning):
                if key > self._cursor or (beginning == stem and key != stem):
                    break
                parts = split_key(key)
                if parts.parent + parts.stem == stem:
                    return key
        return None
