"""Sources whose outputs would have the same name, such as a/b.jpg and a/b.png."""

from collections.abc import Callable, Iterable

from producer.sync.plan.naming import split_key


class NameConflicts:
    """Finds them among keys that come in order, in memory for a few, whatever lies between.

    All keys of one stem lie from the stem up to the stem and a slash, as what follows a stem is a
    dot or nothing, and a slash is what comes next after a dot. Those ranges lie within each other
    or apart, so the stems that may come again are a stack.
    """

    def __init__(self, *, cursor: str, list_earlier: Callable[[str], Iterable[str]]) -> None:
        """`cursor`: a key up to which others were seen in another process; "" for none.

        `list_earlier` lists the keys that begin with a text, in order, without excluded ones.
        """
        self._cursor = cursor
        self._list_earlier = list_earlier
        self._open_ranges: list[tuple[str, str, str]] = []
        """Stem with its folder, the end of its range, and the first key that has it."""

    def first_source(self, key: str) -> str | None:
        """The first key with the same folder and stem, None when this is it."""
        open_ranges = self._open_ranges
        while open_ranges and key >= open_ranges[-1][1]:
            open_ranges.pop()
        dot = key.rfind(".")
        stem = key[:dot] if dot > key.rfind("/") + 1 else key
        for other_stem, _, first_source in open_ranges:
            if other_stem == stem:
                return first_source
        first = self._first_before_cursor(stem) if stem <= self._cursor else None
        open_ranges.append((stem, stem + "/", key if first is None else first))
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
