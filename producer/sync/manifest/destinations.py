"""All destinations of a manifest, to find those that are named twice."""

import hashlib
import struct
from collections.abc import Iterator
from typing import IO, Final

_DIGEST_BYTES: Final = 16
"""The size of a BLAKE2b digest; collisions are neither known nor feasible to search for."""
_ENTRY: Final = struct.Struct(f"<{_DIGEST_BYTES}sQ")
_PARTITIONS: Final = 256
"""Partitions by the first byte of the digest; one is compared at a time."""
_CHUNK_BYTES: Final = _ENTRY.size * 256


class Destinations:
    """Destinations on disk, 24 bytes each; comparing ten million takes about 20 MB of memory."""

    def __init__(self, scratch: IO[bytes]) -> None:
        """`scratch` is an empty file that can be written, read and sought in."""
        self._scratch = scratch
        self._partitions = [bytearray() for _ in range(_PARTITIONS)]
        self._chunk_offsets: list[list[int]] = [[] for _ in range(_PARTITIONS)]
        """The offsets in the file at which the full chunks of each partition begin."""

    def add(self, uri: str, number: int) -> None:
        """Add that line `number` names `uri`; numbers must not decrease."""
        digest = hashlib.blake2b(uri.encode(), digest_size=_DIGEST_BYTES).digest()
        partition = self._partitions[digest[0]]
        partition += _ENTRY.pack(digest, number)
        if len(partition) == _CHUNK_BYTES:
            self._chunk_offsets[digest[0]].append(self._scratch.tell())
            self._scratch.write(partition)
            partition.clear()

    def duplicates(self) -> Iterator[tuple[int, int]]:
        """Yield every line that names a destination again, and the first line that named it.

        The pairs come in no particular order.
        """
        for partition, chunk_offsets in zip(self._partitions, self._chunk_offsets, strict=True):
            entries = bytearray()
            for offset in chunk_offsets:
                self._scratch.seek(offset)
                entries += self._scratch.read(_CHUNK_BYTES)
            entries += partition
            digests = {digest for digest, _ in _ENTRY.iter_unpack(entries)}
            if len(digests) * _ENTRY.size == len(entries):
                continue
            first_lines: dict[bytes, int] = {}
            for digest, number in _ENTRY.iter_unpack(entries):
                first = first_lines.setdefault(digest, number)
                if first != number:
                    yield number, first
