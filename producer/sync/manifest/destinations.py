"""Every destination of a manifest, to find those that are named twice."""

import hashlib
import struct
from collections.abc import Iterator
from typing import IO, Final, NamedTuple

_DIGEST_BYTES: Final = 16
"""Of BLAKE2b: no two texts with the same digest are known, nor can they be looked for."""
_ENTRY: Final = struct.Struct(f"<{_DIGEST_BYTES}sQ")
_PARTITIONS: Final = 256
"""Destinations are told apart by their digest's first byte, and looked at a share at a time."""
_CHUNK_BYTES: Final = _ENTRY.size * 256


class Duplicate(NamedTuple):
    """A destination that an earlier line has too."""

    number: int
    first: int
    """The line that named it first."""


class Destinations:
    """Destinations on disk, 24 bytes each; ten million take some 20 MB of memory to compare."""

    def __init__(self, scratch: IO[bytes]) -> None:
        """`scratch` is an empty file that may be written, read and sought in."""
        self._scratch = scratch
        self._partitions = [bytearray() for _ in range(_PARTITIONS)]
        self._chunk_offsets: list[list[int]] = [[] for _ in range(_PARTITIONS)]
        """Where in the file the full chunks of each share begin."""

    def add(self, uri: str, number: int) -> None:
        """Write down that line `number` names `uri`; numbers must never fall."""
        digest = hashlib.blake2b(uri.encode(), digest_size=_DIGEST_BYTES).digest()
        partition = self._partitions[digest[0]]
        partition += _ENTRY.pack(digest, number)
        if len(partition) == _CHUNK_BYTES:
            self._chunk_offsets[digest[0]].append(self._scratch.tell())
            self._scratch.write(partition)
            partition.clear()

    def duplicates(self) -> Iterator[Duplicate]:
        """Every naming of a destination but its first; in no order."""
        for partition, chunk_offsets in zip(self._partitions, self._chunk_offsets, strict=True):
            entries = bytearray()
            for offset in chunk_offsets:
                self._scratch.seek(offset)
                entries += self._scratch.read(_CHUNK_BYTES)
            entries += partition
            digests = {digest for digest, _ in _ENTRY.iter_unpack(entries)}
            if len(digests) * _ENTRY.size < len(entries):
                yield from _duplicates(entries)


def _duplicates(entries: bytearray) -> Iterator[Duplicate]:
    firsts: dict[bytes, int] = {}
    for digest, number in _ENTRY.iter_unpack(entries):
        first = firsts.setdefault(digest, number)
        if first != number:
            yield Duplicate(number, first)
