"""The lines of a text file as its readers count them, of bounded length."""

from typing import IO, Final, Self

LONGEST_RECORD: Final = 65_536
"""Bytes of one record, its line ends included: three references have 3 KiB."""


class RecordTooLong(ValueError):
    """A record has more than `LONGEST_RECORD` bytes; the line it was found in was read over."""


class PhysicalLines:
    """Iterates over a file of UTF-8, line ends kept; a record is one line or more.

    Goes on behind an error, as `csv.reader` does. Raises `RecordTooLong`, and
    `UnicodeDecodeError` in line `number`.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.number = 0
        """Of the line that was read last, from 1."""
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
        return raw.decode()

    def begin_record(self) -> int:
        """Begin a record; the number of its first line."""
        self._record_bytes = self._quote_count = 0
        return self.number + 1

    def skip_record(self) -> bool:
        """Read over the rest of a CSV record that failed; False when the file ends within quotes.

        Up to where its quotes are even: a text inside them may look like records.
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
        """Read to the end of the line that begins with `raw`."""
        while raw and not raw.endswith(b"\n"):
            raw = self._file.readline(LONGEST_RECORD)
            self._quote_count += raw.count(b'"')
