"""The waiting time of single jobs during a run."""

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.commands import cutwork
from benchmarks.pictures import put_pictures
from benchmarks.table import Row
from deploy.local import LocalStack


def overtaking(*, images: int = 5000, singles: int = 50) -> list[Row]:
    """Submit single jobs one after another during a run."""
    with (
        tempfile.TemporaryDirectory(prefix="cutwork-bench-") as folder,
        LocalStack(Path(folder)) as stack,
    ):
        log = Path(folder) / "standin.log"
        stack.start_broker()
        stack.start_s3()
        s3 = stack.s3()
        for bucket in ("photos", "cutouts"):
            s3.create_bucket(Bucket=bucket)
        put_pictures(s3, "photos", "in/", images)
        put_pictures(s3, "photos", "single/", singles)
        worker = stack.start_worker(
            app="benchmarks.standin",
            concurrency=2,
            CUTWORK_STANDIN="sleep",
            CUTWORK_STANDIN_LOG=str(log),
        )
        stack.wait_for_worker(worker)
        sync = cutwork(
            stack, "sync", "s3://photos/in/", "s3://cutouts/out/", log=Path(folder) / "sync.log"
        )
        with stack.client() as client:
            sync.wait_until(lambda: client.status().waiting > min(1000, images // 2), timeout=60)
            waits, works = [], []
            for number in range(singles):
                source = f"s3://photos/single/{number:06d}.jpg"
                started = time.monotonic()
                handle = client.submit(source, image=f"s3://cutouts/single/{number:06d}.png")
                outcome = handle.wait(120)
                waits.append(time.monotonic() - started)
                works.append(outcome.seconds["total"])
                time.sleep(0.05)
            still = client.status().waiting
            (record,) = client.runs.runs()
            image_time = record.seconds["total"] / record.counts.done
            client.runs.end(record.id, "cancelled")
            sync.wait(60)
        wait, work = statistics.median(waits), statistics.median(works)
        return [
            Row(
                f"{singles} single jobs during a sync of {images:,}: median from submit to outcome "
                f"({still:,} jobs still queued)",
                f"{wait * 1000:.0f} ms, {wait / image_time:.1f} image times "
                f"(image time {image_time * 1000:.0f} ms, processing {work * 1000:.0f} ms)",
                "< 3 image times",
                wait < 3 * image_time and still > 0,
            )
        ]
