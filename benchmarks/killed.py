"""A run of 500 images whose processes are killed twenty times; every image must be cut out."""

import io
import json
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from PIL import Image

from benchmarks.commands import cutwork
from benchmarks.pictures import put_pictures
from benchmarks.table import Row
from deploy.child import Child
from deploy.local import LocalStack

IMAGES: Final = 500
KILLS: Final = 20
_TIMEOUT: Final = "6"
"""Seconds until the deliveries of a killed worker are requeued."""
_PERSISTENT: Final = ("--appendonly", "yes", "--appendfsync", "everysec")
_DEADLINE: Final = 600


def killed(*, images: int = IMAGES, kills: int = KILLS, seed: int = 0) -> list[Row]:
    """Kill `sync`, a worker and the broker in turn, each after a random number of images."""
    with (
        tempfile.TemporaryDirectory(prefix="cutwork-bench-") as folder,
        LocalStack(Path(folder)) as stack,
    ):
        return _Killed(stack, Path(folder), images=images, kills=kills, seed=seed).run()


class _Killed:
    def __init__(
        self, stack: LocalStack, folder: Path, *, images: int, kills: int, seed: int
    ) -> None:
        self.stack, self.folder, self.images = stack, folder, images
        self.log = folder / "standin.log"
        self.log.touch()
        draw = random.Random(seed)
        self.moments = sorted(draw.sample(range(1, images - 10), kills))
        self.random = draw
        self.syncs = 0

    def run(self) -> list[Row]:
        stack = self.stack
        broker = stack.start_broker(*_PERSISTENT)
        stack.start_s3()
        for bucket in ("photos", "cutouts"):
            stack.s3().create_bucket(Bucket=bucket)
        put_pictures(stack.s3(), "photos", "in/", self.images)
        workers = [self._worker(), self._worker()]
        for worker in workers:
            stack.wait_for_worker(worker)
        sync = self._sync()
        started = time.monotonic()
        for number, moment in enumerate(self.moments):
            while self._processed() < moment and time.monotonic() - started < _DEADLINE:
                time.sleep(0.01)
            time.sleep(self.random.uniform(0, 0.3))
            match number % 3:
                case 0:
                    _kill(sync)
                    sync = self._sync()
                case 1:
                    _kill(workers.pop(0))
                    workers.append(self._worker())
                case _:
                    _kill(broker)
                    time.sleep(self.random.uniform(0, 1))
                    broker = stack.restart_broker(*_PERSISTENT)
        while sync.running and time.monotonic() - started < _DEADLINE:
            time.sleep(0.1)
        spent = time.monotonic() - started
        if sync.running:
            return [Row("run of images killed with SIGKILL", "hangs", "an end", False)]
        return self._rows(spent, sync)

    def _rows(self, spent: float, sync: Child) -> list[Row]:
        outputs, valid = self._outputs()
        report = self._report()
        counts: dict[str, int] = report["counts"]
        settled = counts["done"] + counts["skipped"]
        adds_up = (
            counts["seen"] == counts["sent"] == settled == self.images and not counts["failed"]
        )
        repeated = self._processed() - self.images
        what = f"{self.images} images, {len(self.moments)} × SIGKILL, {spent:.0f} s: "
        return [
            Row(
                what + "outputs, valid ones",
                f"{outputs}, {valid}",
                f"{self.images}, {self.images}",
                outputs == valid == self.images,
            ),
            Row(
                what + "seen, sent, done + skipped, failed",
                f"{counts['seen']}, {counts['sent']}, {settled}, {counts['failed']}",
                f"{self.images}, {self.images}, {self.images}, 0",
                adds_up and not sync.wait(),
            ),
            Row(
                what + "images processed more than once",
                f"{repeated} ({repeated / self.images:.1%})",
                "< 5 %",
                repeated < 0.05 * self.images,
            ),
        ]

    def _worker(self) -> Child:
        return self.stack.start_worker(
            app="benchmarks.standin",
            concurrency=2,
            CUTWORK_STANDIN="sleep",
            CUTWORK_STANDIN_LOG=str(self.log),
            CUTWORK_VISIBILITY_TIMEOUT=_TIMEOUT,
        )

    def _sync(self) -> Child:
        self.syncs += 1
        return cutwork(
            self.stack,
            *("sync", "s3://photos/in/", "s3://cutouts/out/", "--window", "100"),
            *("--report", str(self.folder / "report")),
            log=self.folder / f"sync{self.syncs}.log",
            CUTWORK_VISIBILITY_TIMEOUT=_TIMEOUT,
        )

    def _processed(self) -> int:
        """Return how many images have reached the stand-in."""
        return self.log.stat().st_size

    def _outputs(self) -> tuple[int, int]:
        s3 = self.stack.s3()
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket="cutouts")
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        valid = 0
        for key in keys:
            body = s3.get_object(Bucket="cutouts", Key=key)["Body"].read()
            with Image.open(io.BytesIO(body)) as image:
                image.load()
                valid += (image.mode, image.size) == ("RGBA", (64, 64))
        return len(keys), valid

    def _report(self) -> Any:
        (path,) = (self.folder / "report").rglob("report.json")
        return json.loads(path.read_text())


def _kill(child: Child) -> None:
    try:
        child.signal(signal.SIGKILL)
        child.wait()
    except ProcessLookupError:
        pass
