"""The report of a run: `report.json`, `failures.jsonl` and `report.html`, in a folder or in S3.

The page needs the `report` extra; it is drawn in `producer.report.run_page`.
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
    warn: Callable[[str], None],
) -> list[str]:
    """Write the report into `place`, a folder or `s3://bucket/prefix`; returns what was written.

    A folder is made where there is none, and files of an earlier report are replaced. `s3` is asked
    for when there is something to fetch or to put. `warn` is told in a sentence why there is no
    page. Raises `OSError`, botocore's errors, or `ValueError` for an `s3://` that is no place;
    pictures that cannot be shown raise nothing.
    """
    written = [
        _put(place, JSON, report_json(record), s3=s3),
        _put(place, FAILURES, failures_jsonl(record), s3=s3),
    ]
    if not (find_spec("jinja2") and find_spec("PIL")):
        warn(f"{PAGE} was not written: it needs `pip install 'cutwork[report]'`")
        return written
    from producer.report.run_page import run_page  # the extra is here

    return [*written, _put(place, PAGE, run_page(record, s3=s3), s3=s3)]


def report_json(record: RunRecord) -> str:
    """The record as JSON, with its `Figures` as `figures`."""
    facts = record.model_dump(mode="json") | {"figures": figures(record).model_dump(mode="json")}
    return json.dumps(facts, indent=2) + "\n"


def failures_jsonl(record: RunRecord) -> str:
    """A `Failure` a line; a manifest of what failed, as far as the record goes.

    Inputs whose outputs have no name of their own are left out: sent by a manifest, they would be
    written over what another input became.
    """
    # In ASCII: some readers take U+2028 for the end of a line.
    lines = (
        failure.model_dump(mode="json", exclude_none=True)
        for failure in record.failures
        if not failure.code.startswith("name_")
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
    part = path.with_name(f".{name}.part")  # Whoever looks meanwhile sees a whole file.
    part.write_text(text, encoding="utf-8", newline="")
    part.replace(path)
    return str(path)
