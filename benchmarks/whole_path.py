"""A run of the demo's photographs and ten broken files with the real model, twice."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.commands import cutwork
from benchmarks.table import Row
from deploy.demo.command import MODEL, photographs
from deploy.local import LocalStack
from tests.support.broken_files import broken_files


def whole_path() -> list[Row]:
    """Sync a prefix twice and measure both runs."""
    pictures = photographs()
    broken = broken_files(jpeg=pictures["rocket.jpg"], png=pictures["coffee.png"])
    files = dict(pictures) | {f"broken/{name}": data for name, (data, _) in broken.items()}
    with (
        tempfile.TemporaryDirectory(prefix="cutwork-bench-") as folder,
        LocalStack(Path(folder)) as stack,
    ):
        stack.start_broker()
        stack.start_s3()
        s3 = stack.s3()
        for bucket in ("photos", "cutouts"):
            s3.create_bucket(Bucket=bucket)
        for name, data in files.items():
            s3.put_object(Bucket="photos", Key=f"in/{name}", Body=data)
        worker = stack.start_worker(concurrency=2, CUTWORK_PRELOAD=MODEL)
        stack.wait_for_worker(worker)
        first, spent = _sync(stack, Path(folder), "first")
        second, spent_again = _sync(stack, Path(folder), "second")
    failed = {
        event["source"].removeprefix("s3://photos/in/broken/"): event["code"]
        for event in first
        if event["event"] == "failure"
    }
    named = sum(failed.get(name) == code for name, (_, code) in broken.items())
    done = first[-1]["counts"]["done"]
    end = second[-1]
    return [
        Row(
            f"{len(pictures)} photographs and {len(broken)} broken files, {spent:.0f} s: done, "
            "reported by name and code",
            f"{done}, {named}",
            f"{len(pictures)}, {len(broken)}",
            (done, named, len(failed)) == (len(pictures), len(broken), len(broken)),
        ),
        Row(
            f"the same command again: sent {end['counts']['sent']}, run {end['run']}",
            f"{spent_again:.2f} s",
            "nothing, < 2 s",
            end["run"] is None and spent_again < 2,
        ),
    ]


def _sync(stack: LocalStack, folder: Path, name: str) -> tuple[list[dict[str, Any]], float]:
    log = folder / f"{name}.log"
    started = time.monotonic()
    child = cutwork(
        stack,
        *("sync", "s3://photos/in/", "s3://cutouts/out/", "--mask", "s3://cutouts/masks/"),
        *("--json", "--report", str(folder / "report")),
        log=log,
    )
    child.wait(600)
    spent = time.monotonic() - started
    return [json.loads(line) for line in log.read_text().splitlines()], spent
