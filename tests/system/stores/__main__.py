"""`make stores`: whole runs against every object store that a package brings, and a table.

`make stores ARGS='rclone moto'` runs those whose names contain a word.
"""

import argparse
import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from deploy.child import ChildFailed
from deploy.local import LocalStack
from tests.system.stores.conformance import CHECKS, PHOTOGRAPHS, Subject
from tests.system.stores.servers import STORES, Endpoint, running

OUT = Path("stores-out")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make stores", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of stores")
    words = parser.parse_args().names
    wanted = [name for name in STORES if not words or any(word in name for word in words)]
    rows: list[list[str]] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder, LocalStack(Path(folder)) as local:
        local.start_broker()
        local.start_s3()
        for name in wanted:
            version = STORES[name][1]()
            if version is None:
                rows.append([name, "not installed", *["–"] * len(CHECKS)])
                continue
            results = examine(name, local, Path(folder))
            own = [f"{name}: {check}: {text}" for check, text in results.items() if text]
            failures += own
            marks = ["–" if text is None else "no" if text else "yes" for text in results.values()]
            rows.append([name, version, *marks])
            print(" ".join(rows[-1]), *own, sep="\n  ", flush=True)
    table = format_table(rows)
    OUT.mkdir(exist_ok=True)
    (OUT / "stores.md").write_text(table)
    print(f"\n{table}", *failures, sep="\n")
    return 1 if failures else 0


def examine(name: str, local: LocalStack, folder: Path) -> dict[str, str | None]:
    """Run the suite; return for each check why it failed, "" if it passed, None if it did not run.

    The broker's database is emptied before, so that the runs of another store are not resumed.
    """
    results: dict[str, str | None] = {check.__name__: None for check in CHECKS}
    with local.client() as client:
        client.runs.server.flushall()
    try:
        with running(name, local, folder) as endpoint, worker(local, endpoint) as subject:
            for check in CHECKS:
                try:
                    check(subject)
                    results[check.__name__] = ""
                except Exception as error:  # noqa: BLE001 - any of them is this check's result
                    results[check.__name__] = f"{type(error).__name__}: {error}"
    except ChildFailed as error:
        results[CHECKS[0].__name__] = str(error)
    return results


@contextmanager
def worker(local: LocalStack, endpoint: Endpoint) -> Iterator[Subject]:
    """Fill the store, and run a worker on it within the block."""
    s3 = endpoint.client()
    existing = {bucket.get("Name") for bucket in s3.list_buckets().get("Buckets", [])}
    for bucket in {"photos", "cutouts"} - existing:
        s3.create_bucket(Bucket=bucket)
    empty(endpoint)
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(buffer, "PNG")
    for key in PHOTOGRAPHS:
        s3.put_object(Bucket="photos", Key=key, Body=buffer.getvalue())
    variables: dict[str, Any] = {
        "CUTWORK_READ_FROM": "s3://photos",
        "CUTWORK_WRITE_TO": "s3://cutouts",
        **endpoint.environment(),
    }
    child = local.start_worker(**variables)
    try:
        local.wait_for_worker(child)
        with local.client() as client:
            yield Subject(endpoint, client, {**local.environment(), **endpoint.environment()})
    finally:
        child.stop(grace=10)


def empty(endpoint: Endpoint) -> None:
    """Remove what the suite has left behind another endpoint of the same store."""
    s3 = endpoint.client()
    for bucket in ("photos", "cutouts"):
        for item in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=item["Key"])


def format_table(rows: list[list[str]]) -> str:
    """Return the results as a table in Markdown."""
    head = ["store", "version", *(check.__name__.replace("_", " ") for check in CHECKS)]
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
