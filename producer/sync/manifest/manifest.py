"""Sources and destinations from a file: CSV with a header, JSON Lines or Parquet.

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
from producer.sync.manifest.file import ManifestError, ManifestFile, manifest_file
from producer.sync.manifest.line import BadLine, Line, line, rejection
from producer.sync.manifest.records import records

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

__all__ = ["BadLine", "Line", "Manifest", "ManifestError", "open_manifest"]

_BITS: Final = 32_768


class Manifest:
    """An open manifest; it is read twice, to find every bad line before the first job is sent.

    A line holds `source`, and `image` or `mask` or both, each `s3://bucket/key`; other fields are
    left alone, so a failures.jsonl is a manifest. Both readings raise `ManifestError`.
    """

    def __init__(self, file: ManifestFile) -> None:
        self._file = file
        self._bad: LineSet | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of the manifest's bytes, in hexadecimal digits."""
        return self._file.sha256

    def check(self) -> Iterator[BadLine]:
        """Read the manifest and yield every bad line.

        Those that make no job come in order. Behind them, in no order, come those whose image or
        mask an earlier line has too: the last to write would win.
        """
        bad = LineSet()
        try:
            with tempfile.TemporaryFile() as scratch:
                for bad_line in self._invalid_lines(Destinations(scratch)):
                    # Bad twice when image and mask both have been named before.
                    if bad_line.number not in bad:
                        bad.add(bad_line.number)
                        yield bad_line
        except OSError as error:
            raise self._file.error(
                f"its destinations cannot be compared ({error}); they take up to 48 bytes a line "
                f"in {tempfile.gettempdir()}, set TMPDIR to a folder with more room"
            ) from error
        self._bad = bad

    def lines(self, after: int = 0) -> Iterator[Line]:
        """Read the manifest again and yield the good lines with a number above `after`, in order.

        Checks it first unless that has been done to the end.
        """
        while (bad := self._bad) is None:
            deque(self.check(), maxlen=0)
        for record in records(self._file):
            number = record.number
            if number > after and number not in bad and not isinstance(record, BadLine):
                yield line(record)

    def _invalid_lines(self, destinations: Destinations) -> Iterator[BadLine]:
        for record in records(self._file):
            if isinstance(record, BadLine):
                yield record
                continue
            reason = rejection(record)
            if reason is not None:
                yield BadLine(record.number, reason)
                continue
            for uri in (record.image, record.mask):
                if uri:
                    destinations.add(uri, record.number)
        for number, first_line in destinations.duplicates():
            yield BadLine(
                number,
                f"expected destinations of its own, found one that line {first_line} has too",
            )


class LineSet:
    """Numbers of lines, a bit each where there are any."""

    def __init__(self) -> None:
        self._blocks: defaultdict[int, bytearray] = defaultdict(lambda: bytearray(_BITS // 8))

    def add(self, number: int) -> None:
        """Put a number in."""
        block, bit = divmod(number, _BITS)
        self._blocks[block][bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, number: int) -> bool:
        block, bit = divmod(number, _BITS)
        bits = self._blocks.get(block)
        return bits is not None and bool(bits[bit >> 3] >> (bit & 7) & 1)


@contextmanager
def open_manifest(location: str, *, s3: Callable[[], "S3Client"]) -> Iterator[Manifest]:
    """Open a manifest: a local file, an `s3://bucket/key` object, or `-` for standard input.

    `s3` makes the client, and is asked only for an object. `ManifestError` when the manifest is
    not there or cannot be read.
    """
    with manifest_file(location, s3=s3) as file:
        yield Manifest(file)
