"""A manifest of sources and destinations: CSV with a header, JSON Lines or Parquet.

with open_manifest("s3://shop/manifest.csv", s3=lambda: boto3.client("s3")) as manifest:
    bad = list(manifest.check())
    for line in manifest.lines():
        ...
"""

import tempfile
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from producer.sync.manifest.destinations import Destinations
from producer.sync.manifest.file import (
    ManifestError,
    ManifestFile,
    ManifestUnavailable,
    open_file,
)
from producer.sync.manifest.line import BadLine, Line, rejection
from producer.sync.manifest.records import read_records

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

__all__ = ["BadLine", "Line", "Manifest", "ManifestError", "ManifestUnavailable", "open_manifest"]

_BLOCK_BITS: Final = 32_768


class Manifest:
    """An open manifest. It is read twice, to find every bad line before the first job is sent.

    A line has `source`, and `image` or `mask` or both, each as `s3://bucket/key`. Other fields are
    ignored, so a `failures.jsonl` is a manifest. Both passes raise `ManifestError`.
    """

    def __init__(self, file: ManifestFile) -> None:
        self._file = file
        self._bad_numbers: LineSet | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of the manifest's bytes, in hexadecimal digits."""
        return self._file.sha256

    def check(self) -> Iterator[BadLine]:
        """Read the manifest and yield every bad line.

        First come, in order, the lines that do not make a job. Then come, in no particular order,
        the lines whose image or mask an earlier line has as well or another line has as its source:
        one job would overwrite what the other has written or is to read.
        """
        bad_numbers = LineSet()
        try:
            with tempfile.TemporaryFile() as scratch:
                for bad_line in self._invalid_lines(Destinations(scratch)):
                    # A line appears twice if both its image and its mask are duplicates.
                    if bad_line.number not in bad_numbers:
                        bad_numbers.add(bad_line.number)
                        yield bad_line
        except OSError as error:
            raise self._file.error(
                f"cannot compare its destinations ({error}); they take up to 72 bytes per line in "
                f"{tempfile.gettempdir()}, set TMPDIR to a folder with more space"
            ) from error
        self._bad_numbers = bad_numbers

    def lines(self, after: int = 0) -> Iterator[Line]:
        """Read the manifest again and yield the valid lines above number `after`, in order.

        Runs `check` first unless it has been run to its end.
        """
        while (bad_numbers := self._bad_numbers) is None:
            deque(self.check(), maxlen=0)
        for record in read_records(self._file):
            number = record.number
            if number > after and number not in bad_numbers and not isinstance(record, BadLine):
                yield Line.from_record(record)

    def _invalid_lines(self, destinations: Destinations) -> Iterator[BadLine]:
        for record in read_records(self._file):
            if isinstance(record, BadLine):
                yield record
                continue
            reason = rejection(record)
            if reason is not None:
                yield BadLine(record.number, reason)
                continue
            destinations.add(record.source or "", record.number, is_source=True)
            for uri in filter(None, (record.image, record.mask)):
                destinations.add(uri, record.number)
        expected = "expected destinations that no other line has"
        for clash in destinations.clashes():
            kind = "the source" if clash.is_source else "one"
            yield BadLine(clash.number, f"{expected}, found {kind} of line {clash.other}")


class LineSet:
    """A set of line numbers, stored as one bit per line in blocks."""

    def __init__(self) -> None:
        self._blocks: defaultdict[int, bytearray] = defaultdict(lambda: bytearray(_BLOCK_BITS // 8))

    def add(self, number: int) -> None:
        """Add a number."""
        block, bit = divmod(number, _BLOCK_BITS)
        self._blocks[block][bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, number: int) -> bool:
        block, bit = divmod(number, _BLOCK_BITS)
        bits = self._blocks.get(block)
        return bits is not None and bool(bits[bit >> 3] >> (bit & 7) & 1)


@contextmanager
def open_manifest(location: str, *, s3: Callable[[], "S3Client"]) -> Iterator[Manifest]:
    """Open a manifest: a local file, an `s3://bucket/key` object, or `-` for standard input.

    `s3` creates the client and is called only for an object. Raises `ManifestError` if the manifest
    does not exist or cannot be read.
    """
    with open_file(location, s3=s3) as file:
        yield Manifest(file)
