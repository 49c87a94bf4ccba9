"""Every destination of a manifest, to find those that are named twice."""

import hashlib
import struct
from collections.abc import Iterator
from typing import IO, Final, NamedTuple

_DIGEST_BYTES: Final = 16
"""Of BLAKE2b: no two texts with the same digest are known, nor can they be looked for."""
_ENTRY: Final = struct.Struct(f"<{_DIGEST_BYTES}sQ")
_SHARES: Final = 256
"""Destinations are told apart by their digest's first byte, and looked at a share at a time."""
_CHUNK_BYTES: Final = _ENTRY.size * 256


class Repeated(NamedTuple):
    """A destination that an earlier line has too."""

    number: int
    first: int
    """The line that named it first."""


class Destinations:
    """Destinations on disk, 24 bytes each; ten million take some 20 MB of memory to compare."""

    def __init__(self, scratch: IO[bytes]) -> None:
        """`scratch` is an empty file that may be written, read and sought in."""
        self._scratch = scratch
        self._shares = [bytearray() for _ in range(_SHARES)]
        self._chunks: list[list[int]] = [[] for _ in range(_SHARES)]
        """Where in the file the full chunks of each share begin."""

    def add(self, place: str, number: int) -> None:
        """Write down that line `number` names `place`; numbers must never fall."""
        digest = hashlib.blake2b(place.encode(), digest_size=_DIGEST_BYTES).digest()
        share = self._shares[digest[0]]
        share += _ENTRY.pack(digest, number)
        if len(share) == _CHUNK_BYTES:
            self._chunks[digest[0]].append(self._scratch.tell())
            self._scratch.write(share)
            share.clear()

    def repeated(self) -> Iterator[Repeated]:
        """Every naming of a destination but its first; in no order."""
        for share, chunks in zip(self._shares, self._chunks, strict=True):
            entries = bytearray()
            for begin in chunks:
                self._scratch.seek(begin)
                entries += self._scratch.read(_CHUNK_BYTES)
            entries += share
            digests = {digest for digest, _ in _ENTRY.iter_unpack(entries)}
            if len(digests) * _ENTRY.size < len(entries):
                yield from _repeated(entries)


def _repeated(entries: bytearray) -> Iterator[Repeated]:
    firsts: dict[bytes, int] = {}
    for digest, number in _ENTRY.iter_unpack(entries):
        first = firsts.setdefault(digest, number)
        if first != number:
            yield Repeated(number, first)
