"""The report of a run: `report.json`, `failures.jsonl` and `report.html`, in a folder or in S3.

The page needs the `report` extra; `producer.report.run_page` renders it.
"""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from producer.contract.run import RunRecord
from producer.contract.s3_uri import ImageRef
from producer.report.run_figures import figures

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

JSON: Final = "report.json"
FAILURES: Final = "failures.jsonl"
PAGE: Final = "report.html"

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
    warn: Callable[[str], None],
) -> list[str]:
    """Write the report into `place`, a folder or `s3://bucket/prefix`; return the files written.

    Creates the folder if it is missing and replaces the files of an earlier report. `s3` is called
    when an object must be read or written, `sources` for sources in a store of their own, and
    `warn` with a sentence if there is no page.

    Raises `OSError`, botocore's errors, or `ValueError` for an invalid `s3://` URI. A picture that
    cannot be shown raises nothing.
    """
    written = [
        _put(place, JSON, report_json(record), s3=s3),
        _put(place, FAILURES, failures_jsonl(record), s3=s3),
    ]
    if not (find_spec("jinja2") and find_spec("PIL")):
        warn(f"{PAGE} was not written: install cutwork[report]")
        return written
    from producer.report.run_page import run_page  # its packages are installed

    return [*written, _put(place, PAGE, run_page(record, s3=s3, sources=sources), s3=s3)]


def report_json(record: RunRecord) -> str:
    """Return the record as JSON, with its `Figures` as `figures`."""
    facts = record.model_dump(mode="json") | {"figures": figures(record).model_dump(mode="json")}
    return json.dumps(facts, indent=2) + "\n"


def failures_jsonl(record: RunRecord) -> str:
    """Return one `Failure` per line: a manifest that retries the failures in the record.

    Conflicting inputs are left out: sent by a manifest, they would overwrite
    another input's outputs.
    """
    # ASCII only: some readers treat U+2028 as the end of a line.
    lines = (
        failure.model_dump(mode="json", exclude_none=True)
        for failure in record.failures
        if not failure.is_conflict
    )
    return "".join(json.dumps(line) + "\n" for line in lines)


def _put(place: str, name: str, text: str, *, s3: "Callable[[], S3Client]") -> str:
    if place.startswith("s3://"):
        ref = ImageRef.parse(f"{place.removesuffix('/')}/{name}")
        s3().put_object(
            Bucket=ref.bucket, Key=ref.key, Body=text.encode(), ContentType=_TYPES[name]
        )
        return str(ref)
    path = Path(place) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{name}.part")  # Readers never see a partial file.
    part.write_text(text, encoding="utf-8", newline="")
    part.replace(path)
    return str(path)
