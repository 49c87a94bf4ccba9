"""Keys as numbers, so that the key at a distance can be guessed.

S3 lists from any key on, but does not tell in advance which keys exist. Keys are regular: they
contain a counter, a date, or a random number in hexadecimal. If the characters seen at each
position are the digits of a number, the distance between two keys estimates how many keys lie
between them, and a key some pages ahead can be guessed. A wrong guess costs a request, never a key.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise, takewhile, zip_longest
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Final

_POSITIONS: Final = 256
"""The number of characters of a key that are used."""
_SAMPLES: Final = 16
"""The number of keys of a page that are used."""
_MAX_CACHED: Final = 512
_CLASSES: Final = (digits, ascii_uppercase, ascii_lowercase)
_DIGITS: Final = frozenset(digits)
_HEXADECIMAL: Final = "abcdef"
_DIGITS_AND_HEXADECIMAL: Final = _DIGITS.union(_HEXADECIMAL)


class KeySpace:
    """The characters that keys may have at each position, as learned so far."""

    def __init__(self, prefix: str) -> None:
        """All keys begin with `prefix`."""
        self._prefix = prefix
        self._characters: list[set[str]] = []
        self._first_varying = _POSITIONS
        """The first position where two neighbours differed.

        The characters at later positions have run through their alphabets.
        """
        self._alphabets: list[list[str]] | None = None
        self._number_cache: dict[str, int] = {}

    def learn(self, keys: Sequence[str]) -> None:
        """Learn from the keys of one page, which are in order."""
        start = len(self._prefix)
        stop = start + _POSITIONS
        sample = [key[start:stop] for key in (*keys[:: max(1, len(keys) // _SAMPLES)], keys[-1])]
        for key in sample:
            self._learn_characters(key)
        for left, right in pairwise(sample):
            pairs = enumerate(zip_longest(left, right))
            position = next((index for index, (a, b) in pairs if a != b), _POSITIONS)
            if position < self._first_varying:
                self._first_varying, self._alphabets = position, None

    def number(self, key: str) -> int:
        """Return the number of a key; it never decreases as keys increase."""
        alphabets = self._current_alphabets()
        number = self._number_cache.get(key)
        if number is not None:
            return number
        number, start, is_known = 0, len(self._prefix), True
        if not key.startswith(self._prefix):
            is_known = key < self._prefix
            alphabets = alphabets if is_known else []
        for position, alphabet in enumerate(alphabets, start):
            rank = 0
            if is_known:
                character = key[position : position + 1]
                rank = bisect_left(alphabet, character)
                # After a character that is new at its position, the rest has no number.
                is_known = rank < len(alphabet) and alphabet[rank] == character
            number = number * len(alphabet) + rank
        if len(self._number_cache) >= _MAX_CACHED:
            self._number_cache.clear()
        self._number_cache[key] = number
        return number

    def key(self, number: int) -> str | None:
        """Return the key of a number; None if the number exceeds those of all keys."""
        characters = []
        for alphabet in reversed(self._current_alphabets()):
            number, rank = divmod(number, len(alphabet))
            characters.append(alphabet[rank])
        if number != 0:
            return None
        # "" marks the end of a key.
        return self._prefix + "".join(takewhile(bool, reversed(characters)))

    def _learn_characters(self, key: str) -> None:
        positions, is_first_key = self._characters, not self._characters
        for position, character in enumerate(key):
            if position == len(positions):
                # Earlier keys ended at this position.
                positions.append({character} if is_first_key else {"", character})
                self._alphabets = None
            elif character not in positions[position]:
                positions[position].add(character)
                self._alphabets = None
        if len(key) < len(positions) and "" not in positions[len(key)]:
            for characters in positions[len(key) :]:
                characters.add("")
            self._alphabets = None

    def _current_alphabets(self) -> list[list[str]]:
        if self._alphabets is None:
            self._number_cache.clear()
            self._alphabets = list(map(self._alphabet, range(len(self._characters))))
        return self._alphabets

    def _alphabet(self, position: int) -> list[str]:
        """Return the characters seen at a position, without gaps, and those still to be expected.

        Characters are to be expected where the keys have not run through their alphabet yet.
        """
        characters = set(self._characters[position])
        for character_class in _CLASSES:
            members = self._characters[position].intersection(character_class)
            if not members:
                continue
            first, last = character_class.index(min(members)), character_class.index(max(members))
            if position <= self._first_varying:
                has_hexadecimal = self._has_hexadecimal()
                if character_class is digits and has_hexadecimal:
                    characters.update(_HEXADECIMAL)
                is_hexadecimal = character_class is not digits and has_hexadecimal
                last = max(last, 5) if is_hexadecimal else len(character_class) - 1
            characters.update(character_class[first : last + 1])
        return sorted(characters)

    def _has_hexadecimal(self) -> bool:
        """Return whether a position after the first varying one has digits and `a` to `f`."""
        return any(
            len(characters) > 6
            and characters <= _DIGITS_AND_HEXADECIMAL
            and not characters <= _DIGITS
            for characters in self._characters[self._first_varying + 1 :]
        )
