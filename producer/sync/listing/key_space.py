"""Keys as numbers, so that a listing can be entered where nobody has read yet.

S3 lists from any key on, but does not say which keys there are. Keys are regular: a counter, a
date, a random number in hexadecimal. Taken as a number whose digits at each position are the
characters seen there, the distance between two keys says how many lie between, and a key some
pages ahead can be guessed. A wrong guess costs a request, never a key.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise, takewhile
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Final

_POSITIONS: Final = 256
"""Characters of a key that count."""
_SAMPLES: Final = 16
"""Keys of a page that are looked at."""
_REMEMBERED: Final = 512
_CLASSES: Final = (digits, ascii_uppercase, ascii_lowercase)
_DIGITS: Final = frozenset(digits)
_HEXADECIMAL: Final = "abcdef"
_DIGITS_AND_HEXADECIMAL: Final = _DIGITS.union(_HEXADECIMAL)


class KeySpace:
    """What keys look like so far: at each position the characters they may have there."""

    def __init__(self, prefix: str) -> None:
        """`prefix` is what all keys begin with."""
        self._prefix = prefix
        self._seen: list[set[str]] = []
        self._top = _POSITIONS
        """The first position where two neighbours differed: those behind it have run through."""
        self._alphabets: list[list[str]] | None = None
        self._numbers: dict[str, int] = {}

    def learn(self, keys: Sequence[str]) -> None:
        """Take in the keys of one page, which are in order."""
        start = len(self._prefix)
        stop = start + _POSITIONS
        sample = [key[start:stop] for key in (*keys[:: max(1, len(keys) // _SAMPLES)], keys[-1])]
        for key in sample:
            self._learn_characters(key)
        for one, other in pairwise(sample):
            position = _first_difference(one, other)
            if position < self._top and one != other:
                self._top, self._alphabets = position, None

    def number(self, key: str) -> int:
        """The key's place; a greater key has no lesser one."""
        alphabets = self._current()
        number = self._numbers.get(key)
        if number is not None:
            return number
        number, start, known = 0, len(self._prefix), True
        if not key.startswith(self._prefix):
            known = key < self._prefix
            alphabets = alphabets if known else []
        for position, alphabet in enumerate(alphabets, start):
            rank = 0
            if known:
                character = key[position : position + 1]
                rank = bisect_left(alphabet, character)
                # What follows a character that is new here has no place of its own.
                known = rank < len(alphabet) and alphabet[rank] == character
            number = number * len(alphabet) + rank
        if len(self._numbers) >= _REMEMBERED:
            self._numbers.clear()
        self._numbers[key] = number
        return number

    def key(self, number: int) -> str | None:
        """The key at a place; None where no key of these characters can be."""
        characters = []
        for alphabet in reversed(self._current()):
            number, rank = divmod(number, len(alphabet))
            characters.append(alphabet[rank])
        if number != 0:
            return None
        # "" is the end of a key.
        return self._prefix + "".join(takewhile(bool, reversed(characters)))

    def _learn_characters(self, key: str) -> None:
        seen, first = self._seen, not self._seen
        for position, character in enumerate(key):
            if position == len(seen):
                # The keys before this one ended here.
                seen.append({character} if first else {"", character})
                self._alphabets = None
            elif character not in seen[position]:
                seen[position].add(character)
                self._alphabets = None
        if len(key) < len(seen) and "" not in seen[len(key)]:
            for characters in seen[len(key) :]:
                characters.add("")
            self._alphabets = None

    def _current(self) -> list[list[str]]:
        if self._alphabets is None:
            self._numbers.clear()
            self._alphabets = [self._alphabet(position) for position in range(len(self._seen))]
        return self._alphabets

    def _alphabet(self, position: int) -> list[str]:
        """What was seen, without holes; where keys have not run through yet, what may come too."""
        result = set(self._seen[position])
        for letters in _CLASSES:
            found = self._seen[position].intersection(letters)
            if not found:
                continue
            first, last = letters.index(min(found)), letters.index(max(found))
            if position <= self._top:
                hexadecimal = self._hexadecimal()
                if letters is digits and hexadecimal:
                    result.update(_HEXADECIMAL)
                last = max(last, 5) if letters is not digits and hexadecimal else len(letters) - 1
            result.update(letters[first : last + 1])
        return sorted(result)

    def _hexadecimal(self) -> bool:
        """Whether digits and a to f stand in one place, behind where neighbours differ."""
        return any(
            len(seen) > 6 and seen <= _DIGITS_AND_HEXADECIMAL and not seen <= _DIGITS
            for seen in self._seen[self._top + 1 :]
        )


def _first_difference(one: str, other: str) -> int:
    for position, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return position
    return min(len(one), len(other))
