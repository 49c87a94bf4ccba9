"""The report of a run: `report.json`, `failures.jsonl` and `report.html`, in a folder or in S3.

The page needs the `report` extra; `producer.report.run_page` renders it.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Final

from producer.contract.run import Failure, RunRecord
from producer.contract.s3_uri import ImageRef
from producer.report.run_figures import figures

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

JSON: Final = "report.json"
FAILURES: Final = "failures.jsonl"
PAGE: Final = "report.html"

_MEMORY_BYTES: Final = 2**20
_TYPES: Final = {
    JSON: "application/json",
    FAILURES: "application/x-ndjson",
    PAGE: "text/html; charset=utf-8",
}


def write_run_report(
    record: RunRecord,
    place: str,
    *,
    s3: "Callable[[], S3Client]",
    sources: "Callable[[], S3Client] | None" = None,
    failures: Iterable[Failure] | None = None,
    warn: Callable[[str], None],
) -> list[str]:
    """Write the report into `place`, a folder or `s3://bucket/prefix`; return the files written.

    Creates the folder if it is missing and replaces the files of an earlier report. `s3` is called
    when an object must be read or written, `sources` for sources in a store of their own, and
    `warn` with a sentence if there is no page. `failures` are those of `failures.jsonl`, by default
    the first ones, which the record has.

    Raises `OSError`, botocore's errors, or `ValueError` for an invalid `s3://` URI. A picture that
    cannot be shown raises nothing.
    """
    failures = record.failures if failures is None else failures
    written = [
        _put(place, JSON, [report_json(record)], s3=s3),
        _put(place, FAILURES, failure_lines(failures), s3=s3),
    ]
    if not (find_spec("jinja2") and find_spec("PIL")):
        warn(f"{PAGE} was not written: install cutwork[report]")
        return written
    from producer.report.run_page import run_page  # its packages are installed

    return [*written, _put(place, PAGE, [run_page(record, s3=s3, sources=sources)], s3=s3)]


def report_json(record: RunRecord) -> str:
    """Return the record as JSON, with its `Figures` as `figures`."""
    facts = record.model_dump(mode="json", exclude={"report_due"})
    facts |= {"figures": figures(record).model_dump(mode="json")}
    return json.dumps(facts, indent=2) + "\n"


def failure_lines(failures: Iterable[Failure]) -> Iterator[str]:
    """Yield one `Failure` per line: a manifest that retries the failures.

    Conflicting inputs are left out: sent by a manifest, they would overwrite another input's
    outputs.
    """
    for failure in failures:
        if not failure.is_conflict:
            # ASCII only: some readers treat U+2028 as the end of a line.
            yield json.dumps(failure.model_dump(mode="json", exclude_none=True)) + "\n"


def _put(place: str, name: str, texts: Iterable[str], *, s3: "Callable[[], S3Client]") -> str:
    """Write the texts one after the other; they are not in memory together."""
    if place.startswith("s3://"):
        ref = ImageRef.parse(f"{place.removesuffix('/')}/{name}")
        with SpooledTemporaryFile(max_size=_MEMORY_BYTES) as body:
            body.writelines(text.encode() for text in texts)
            body.seek(0)
            s3().put_object(Bucket=ref.bucket, Key=ref.key, Body=body, ContentType=_TYPES[name])
        return str(ref)
    path = Path(place) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{name}.part")  # Readers never see a partial file.
    with part.open("w", encoding="utf-8", newline="") as file:
        file.writelines(texts)
    part.replace(path)
    return str(path)
