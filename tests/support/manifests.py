"""Rows and files of manifests in every format, and what a reader makes of them."""

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from producer.sync.manifest.manifest import (
    BadLine,
    Line,
    Manifest,
    open_manifest,
)

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


Row = dict[str, Any]
Written = Callable[[str, str | bytes], Path]
A, B, C = "s3://photos/a.jpg", "s3://cutouts/a.png", "s3://cutouts/a-mask.png"
HEADER = "source,image,mask\n"


def writer(folder: Path) -> Written:
    """Return a function that writes a file of a folder and returns its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def no_s3() -> "S3Client":
    raise AssertionError("expected no use of S3")


@contextlib.contextmanager
def opened(place: str | Path) -> Iterator[Manifest]:
    with open_manifest(str(place), s3=no_s3) as manifest:
        yield manifest


def read(place: str | Path) -> tuple[list[BadLine], list[Line]]:
    with opened(place) as manifest:
        return list(manifest.check()), list(manifest.lines())


def numbered(place: str | Path) -> tuple[list[int], list[tuple[int, str, str | None, str | None]]]:
    """Return the numbers of the bad lines, and the fields of the good lines as text."""
    bad, good = read(place)
    plain = [
        (entry.number, str(entry.source), *(ref and str(ref) for ref in (entry.image, entry.mask)))
        for entry in good
    ]
    return [entry.number for entry in bad], plain  # type: ignore[return-value]  # of three


def reasons(place: str | Path) -> dict[int, str]:
    bad, _ = read(place)
    assert len({entry.number for entry in bad}) == len(bad)
    return {entry.number: entry.reason for entry in bad}


def as_csv(rows: list[Row]) -> bytes:
    lines = [
        ",".join(str(row.get(name) or "") for name in HEADER.strip().split(",")) for row in rows
    ]
    return (HEADER + "\n".join(lines)).encode()


def as_json_lines(rows: list[Row]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_parquet(rows: list[Row]) -> bytes:
    target = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), target)
    return target.getvalue()


ROWS: list[Row] = [
    {"source": A, "image": B, "mask": C},
    {"source": "s3://photos/b é.jpg", "image": "s3://cutouts/b.png", "mask": None},
    {"source": A, "image": None, "mask": "s3://cutouts/again.png"},
    {"source": "photos/d.jpg", "image": "s3://cutouts/d.png", "mask": ""},
    {"source": A, "image": "s3://cutouts/e.png", "mask": B},
]
