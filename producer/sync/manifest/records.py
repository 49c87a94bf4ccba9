"""The records of a manifest, in order: CSV, JSON Lines or Parquet."""

import csv
import zlib
from collections.abc import Iterator

from pydantic_core import from_json

from producer.contract.untrusted_text import shorten
from producer.sync.manifest.file import FIELDS, ManifestFile
from producer.sync.manifest.line import BadLine, Record
from producer.sync.manifest.parquet import read_parquet
from producer.sync.manifest.physical_lines import LONGEST_RECORD, PhysicalLines, RecordTooLong


def read_records(file: ManifestFile) -> Iterator[Record | BadLine]:
    """Read a manifest once, in bounded memory.

    Raises `ManifestError` if it cannot be read to its end or lacks required fields.
    """
    file.require_unchanged()
    reader = {"csv": _read_csv, "jsonl": _read_json_lines, "parquet": read_parquet}[file.format]
    try:
        yield from reader(file)
    except (OSError, EOFError, zlib.error) as error:
        raise file.error(f"cannot be read to its end ({error}); is it complete?") from error
    file.require_unchanged()


def _read_csv(file: ManifestFile) -> Iterator[Record | BadLine]:
    with file.text() as stream:
        lines = PhysicalLines(stream, file)
        rows = csv.reader(lines, strict=True)
        try:
            header = next((row for row in rows if row), [])
        except (csv.Error, RecordTooLong) as error:
            raise file.error(f"expected CSV with a header, {_problem(error, lines)}") from error
        columns = file.fields(header)
        # A missing column is read from the empty field that is appended to each row.
        width = len(header)
        source, image, mask = (columns.get(name, width) for name in FIELDS)
        while True:
            number = lines.begin_record()
            try:
                row = next(rows)
            except StopIteration:
                return
            except (csv.Error, RecordTooLong) as error:
                if not lines.skip_record():
                    raise file.error(
                        f"a quoted field of line {number} is not closed; close it, or write a "
                        'quote inside a field as ""'
                    ) from error
                yield BadLine(number, f"expected CSV, {_problem(error, lines)}")
                continue
            if len(row) == width:
                row.append("")
                yield Record(number, row[source] or None, row[image] or None, row[mask] or None)
            elif row:
                found, advice = len(row), "put quotes around a field that contains a comma"
                reason = f"expected {width} fields, as the header has, found {found}; {advice}"
                yield BadLine(number, reason)


def _read_json_lines(file: ManifestFile) -> Iterator[Record | BadLine]:
    with file.text() as stream:
        lines = PhysicalLines(stream, file)
        while True:
            number = lines.begin_record()
            try:
                text = next(lines)
            except StopIteration:
                return
            except RecordTooLong as error:
                yield BadLine(number, f"expected a JSON object, {_problem(error, lines)}")
                continue
            if not text.isspace():
                yield _parse_json(number, text)


def _parse_json(number: int, text: str) -> Record | BadLine:
    try:
        value = from_json(text, cache_strings="keys")
    except ValueError as error:
        return BadLine(number, f"expected a JSON object, found {_excerpt(text)} ({error})")
    if not isinstance(value, dict):
        return BadLine(number, f"expected a JSON object, found {_excerpt(text)}")
    source, image, mask = map(value.get, FIELDS)
    for name, uri in zip(FIELDS, (source, image, mask), strict=True):
        if uri is not None and not isinstance(uri, str):
            excerpt = shorten(repr(uri), 80)
            return BadLine(number, f"{name}: expected s3://bucket/key, found {excerpt}")
    return Record(number, source or None, image or None, mask or None)


def _excerpt(text: str) -> str:
    return shorten(repr(text[:80].strip()), 80)


def _problem(error: Exception, lines: PhysicalLines) -> str:
    """Return what is wrong with the record whose last line was just read."""
    if isinstance(error, RecordTooLong):
        return f"found more than {LONGEST_RECORD:,} bytes up to line {lines.number}"
    return f"found an error up to line {lines.number}: {error}"
