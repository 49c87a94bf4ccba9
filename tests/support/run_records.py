"""Records of runs as `cutwork sync` stores them, for the tests of their report."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageDraw

from producer.contract.outcome import Outcome
from producer.contract.run import Failure, Minute, RunCounts, RunRecord, RunSpec

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

START: Final = 1_795_334_400
"""2026-11-22 08:00 UTC."""
HOSTILE: Final = (
    """<script>alert('1')</script>"quoted"&100%#1?.png""",
    "</bdi></td></table><h1>own</h1><img src=x onerror=alert(1)>.png",
    "{{ 7 * 7 }}{% raw %}.png",
    "صورة‮gnp.exe",
    "日本/👩‍🚀/Zürich\n\t\x1b[31m\u2028.png",
    "x" * 1000,
)
"""Keys that an attacker could choose."""


def counts(**changes: int) -> RunCounts:
    """Return the counts of a finished run, with the given changes."""
    numbers = {"excluded": 5, "current": 38_122, "known": 4, "conflicting": 1, "skipped": 7}
    numbers |= {"done": 1_200, "failed": 3, "cancelled": 0} | changes
    sent = numbers.pop("sent", sum(numbers[name] for name in ("done", "skipped", "failed")))
    parts = (numbers[name] for name in ("excluded", "current", "known", "conflicting"))
    return RunCounts(**{"sent": sent, "seen": sum(parts) + sent} | numbers)


def outcome(key: str, *, seconds: float = 2.0, **changes: Any) -> Outcome:
    """Return the outcome of a finished photograph with its two outputs."""
    name = Path(key).stem
    facts = {
        "job_id": "1",
        "state": "done",
        "source": {"ref": f"s3://photos/{key}", "size": (600, 400)},
        "image": {"ref": f"s3://cutouts/run/{name}.png", "bytes": 1},
        "mask": {"ref": f"s3://cutouts/run/{name}-mask.png", "bytes": 1},
        "foreground_share": 0.3,
        "run": {"model": "m", "sha256": "0" * 64, "engine": "onnxruntime 1", "provider": "CPU"}
        | {"device": "cpu", "dtype": "float32"},
        "seconds": {"fetch": 0.1 * seconds, "model": 0.8 * seconds, "total": seconds},
    }
    return Outcome.model_validate(facts | changes)


def failure(key: str, code: str = "corrupt_image", message: str = "found no end") -> Failure:
    """Return a failure."""
    return Failure.model_validate(
        {"source": f"s3://photos/{key}", "code": code} | {"message": message}
    )


def record(**changes: Any) -> RunRecord:
    """Return a run of an hour and a half with a pause of half an hour."""
    at_work = [*range(30), *range(60, 90)]
    facts = {
        "id": "20261122-080000-3fa9c1",
        "state": "finished",
        "spec": RunSpec(source="s3://photos/", image="s3://cutouts/run", mask="s3://cutouts/run"),
        "created_at": START,
        "finished_at": START + 5400,
        "taken_at": START + 5460,
        "counts": counts(),
        "codes": {"corrupt_image": 2, "not_an_image": 1, "name_conflict": 1},
        "pixels": 2_400_000_000,
        "seconds": {"fetch": 240.0, "model": 1920.0, "total": 2400.0},
        "minutes": [
            Minute(start=START + 60 * at, images=at + 1, pixels=40_000_000) for at in at_work
        ],
        "workers": {f"worker{number}@gpu": 200 for number in range(6)},
    }
    return RunRecord.model_validate(facts | changes)


def put_outputs(s3: "S3Client", names: Sequence[str]) -> None:
    """Return the objects that a worker writes for 120×80 photographs, by the keys of `outcome`."""
    for name in names:
        mask = Image.new("L", (120, 80))
        ImageDraw.Draw(mask).ellipse((20, 10, 100, 70), fill=255)
        cutout = Image.new("RGBA", mask.size, "#3a7")
        cutout.putalpha(mask)
        for key, image in ((f"run/{name}.png", cutout), (f"run/{name}-mask.png", mask)):
            s3.put_object(Bucket="cutouts", Key=key, Body=as_png(image))


def as_png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
