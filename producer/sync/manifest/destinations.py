"""All objects of a manifest, to find destinations that another line writes or reads."""

import hashlib
import struct
from collections.abc import Iterator
from typing import IO, Final, NamedTuple

_DIGEST_BYTES: Final = 16
"""The size of a BLAKE2b digest; collisions are neither known nor feasible to search for."""
_ENTRY: Final = struct.Struct(f"<{_DIGEST_BYTES}sQ")
_PARTITIONS: Final = 256
"""Partitions by the first byte of the digest; one is compared at a time."""
_CHUNK_BYTES: Final = _ENTRY.size * 256


class Clash(NamedTuple):
    """A line whose destination another line names too."""

    number: int
    other: int
    """The number of the first other line."""
    is_source: bool
    """Whether the other line reads the object; else it writes it."""


class Destinations:
    """Objects on disk, 24 bytes each; comparing ten million takes about 20 MB of memory."""

    def __init__(self, scratch: IO[bytes]) -> None:
        """`scratch` is an empty file that can be written, read and sought in."""
        self._scratch = scratch
        self._partitions = [bytearray() for _ in range(_PARTITIONS)]
        self._chunk_offsets: list[list[int]] = [[] for _ in range(_PARTITIONS)]
        """The offsets in the file at which the full chunks of each partition begin."""

    def add(self, uri: str, number: int, *, is_source: bool = False) -> None:
        """Add that line `number` writes `uri`, or reads it; numbers must not decrease."""
        digest = hashlib.blake2b(uri.encode(), digest_size=_DIGEST_BYTES).digest()
        partition = self._partitions[digest[0]]
        partition += _ENTRY.pack(digest, number << 1 | is_source)
        if len(partition) == _CHUNK_BYTES:
            self._chunk_offsets[digest[0]].append(self._scratch.tell())
            self._scratch.write(partition)
            partition.clear()

    def clashes(self) -> Iterator[Clash]:
        """Yield every line that writes an object that another line reads or an earlier one writes.

        They come in no particular order.
        """
        for partition, chunk_offsets in zip(self._partitions, self._chunk_offsets, strict=True):
            entries = bytearray()
            for offset in chunk_offsets:
                self._scratch.seek(offset)
                entries += self._scratch.read(_CHUNK_BYTES)
            entries += partition
            digests = {digest for digest, _ in _ENTRY.iter_unpack(entries)}
            if len(digests) * _ENTRY.size != len(entries):
                yield from _clashes(entries)


def _clashes(entries: bytearray) -> Iterator[Clash]:
    writers: dict[bytes, int] = {}
    for digest, entry in _ENTRY.iter_unpack(entries):
        if not entry & 1:
            writers.setdefault(digest, entry >> 1)
    readers: dict[bytes, int] = {}
    for digest, entry in _ENTRY.iter_unpack(entries):
        if entry & 1 and digest in writers:
            readers.setdefault(digest, entry >> 1)
    for digest, entry in _ENTRY.iter_unpack(entries):
        number = entry >> 1
        if entry & 1:
            continue
        if digest in readers:
            yield Clash(number, readers[digest], is_source=True)
        elif writers[digest] != number:
            yield Clash(number, writers[digest], is_source=False)
