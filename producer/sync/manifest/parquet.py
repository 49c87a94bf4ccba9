"""The records of a manifest in Parquet, read with the optional package pyarrow."""

from collections.abc import Iterator
from typing import Any, Final, cast

from producer.sync.manifest.file import FIELDS, ManifestFile
from producer.sync.manifest.line import Record

_ROWS: Final = 1024
"""Rows in memory at a time. Their number is small because every row may have a long value."""
_BATCH_BYTES: Final = 2**24
"""Bytes in memory at a time, by the mean of the row group with the longest rows."""
_LONGEST_TEXT: Final = 4096
"""Characters that are kept of a value; no reference has as many."""


def read_parquet(file: ManifestFile) -> Iterator[Record]:
    """Read the columns of `FIELDS`, some rows at a time; a record's number is its row, from 1.

    Raises `ManifestError` if pyarrow is missing, if the file is not Parquet, or if one of the
    columns does not contain text.
    """
    try:
        # Imported here because the base installation does not include it, and CSV does not need it.
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise file.error(
            "expected pyarrow for Parquet, found none; install cutwork[parquet], "
            "or use CSV or JSON Lines"
        ) from error
    try:
        with parquet.ParquetFile(file.path) as parquet_file:
            names, rows = _columns(parquet_file, file)
        # Without dictionaries, a text that many rows share would be copied for each of them.
        with parquet.ParquetFile(file.path, read_dictionary=names) as parquet_file:
            yield from _read_rows(parquet_file, names, rows)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise file.error(f"expected Parquet with UTF-8 text ({error}); is it complete?") from error


def _columns(parquet_file: Any, file: ManifestFile) -> tuple[list[str], int]:
    """Return the names of the columns to read, and the number of rows to read at a time."""
    schema, metadata = parquet_file.schema_arrow, parquet_file.metadata
    names = list(file.fields(schema.names))
    for name in names:
        _require_text(schema.field(name).type, name=name, file=file)
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    bytes_per_row = max(
        (group.total_byte_size / group.num_rows for group in groups if group.num_rows), default=0
    )
    return names, max(1, min(_ROWS, int(_BATCH_BYTES / max(1, bytes_per_row))))


def _read_rows(parquet_file: Any, names: list[str], rows: int) -> Iterator[Record]:
    number = 0
    for batch in parquet_file.iter_batches(batch_size=rows, columns=names):
        empty_column = [None] * batch.num_rows
        columns = [_texts(batch.column(name)) if name in names else empty_column for name in FIELDS]
        for source, image, mask in zip(*columns, strict=True):
            number += 1
            yield Record(number, source or None, image or None, mask or None)


def _require_text(kind: Any, *, name: str, file: ManifestFile) -> None:
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    texts = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    if not any(is_text(value) for is_text in texts):
        raise file.error(f"expected text in the column {name}, found {kind}")


def _texts(column: Any) -> list[str | None]:
    """Return the texts of a column, cut to `_LONGEST_TEXT` characters, each text read once."""
    from pyarrow import types

    if not types.is_dictionary(column.type):
        return _cut(column)
    used = column.indices.unique().drop_null()
    text_by_index = dict(zip(used.to_pylist(), _cut(column.dictionary.take(used)), strict=True))
    return [text_by_index.get(index) for index in column.indices.to_pylist()]


def _cut(values: Any) -> list[str | None]:
    import pyarrow as pa
    from pyarrow import compute

    plain = values.cast(pa.string())
    longest = compute.max(compute.binary_length(plain)).as_py() or 0
    if longest > _LONGEST_TEXT:
        plain = compute.utf8_slice_codeunits(plain, 0, _LONGEST_TEXT)
    return cast(list[str | None], plain.to_pylist())
