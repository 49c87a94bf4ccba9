"""The physical lines of a text file, of bounded length."""

from typing import IO, Final, Self

from producer.sync.manifest.file import ManifestFile

LONGEST_RECORD: Final = 65_536
"""The most bytes of one record, with its line ends; three references have 3 KiB."""


class RecordTooLong(ValueError):
    """A record has more than `LONGEST_RECORD` bytes; the rest of its current line was skipped."""


class PhysicalLines:
    """An iterator over the lines of a UTF-8 file, with their ends; a record has one or more lines.

    Can be continued after `RecordTooLong`, like `csv.reader` after its errors. Raises
    `ManifestError` if a line is not UTF-8.
    """

    def __init__(self, file: IO[bytes], manifest: ManifestFile) -> None:
        self._file = file
        self._manifest = manifest
        self.number = 0
        """The number of the last line read, from 1."""
        self._record_bytes = 0
        self._quote_count = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        raw = self._file.readline(LONGEST_RECORD + 1 - self._record_bytes)
        if not raw:
            raise StopIteration
        self.number += 1
        self._record_bytes += len(raw)
        self._quote_count += raw.count(b'"')
        if self._record_bytes > LONGEST_RECORD:
            self._skip_to_line_end(raw)
            raise RecordTooLong
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self._manifest.error(
                f"expected UTF-8, found invalid bytes in line {self.number} ({error})"
            ) from error

    def begin_record(self) -> int:
        """Begin a record and return the number of its first line."""
        self._record_bytes = self._quote_count = 0
        return self.number + 1

    def skip_record(self) -> bool:
        """Skip the rest of an invalid CSV record; return False if the file ends inside quotes.

        The record ends where the number of its quotes is even: quoted text may look like records.
        """
        while self._quote_count % 2:
            raw = self._file.readline(LONGEST_RECORD)
            if not raw:
                return False
            self.number += 1
            self._quote_count += raw.count(b'"')
            self._skip_to_line_end(raw)
        return True

    def _skip_to_line_end(self, raw: bytes) -> None:
        """Read up to the end of the line that begins with `raw`."""
        while raw and not raw.endswith(b"\n"):
            raw = self._file.readline(LONGEST_RECORD)
            self._quote_count += raw.count(b'"')
