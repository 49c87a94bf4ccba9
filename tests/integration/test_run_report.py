"""The report of a run: where it is written, and its thumbnails from a real S3."""

import io
import struct
import zlib
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from PIL import ExifTags, Image

from deploy.local import LocalStack, free_ports
from producer.contract.run import Failure, RunRecord
from producer.contract.s3_uri import ImageRef
from producer.report.run_report import write_run_report
from producer.report.thumbnail import SIDE, Thumbnail, fetch_thumbnails
from tests.support.run_records import as_png, failure, outcome, record

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def no_s3() -> "S3Client":
    raise AssertionError("expected no use of S3")


def no_warning(sentence: str) -> None:
    raise AssertionError(sentence)


def test_a_report_is_written_to_s3_and_read_back(stack: LocalStack) -> None:
    run = record(failures=[failure("a.jpg")])
    for place in ("s3://cutouts/reports/today", "s3://cutouts/reports/today/"):
        written = write_run_report(run, place, s3=stack.s3, warn=no_warning)
        assert written == [
            f"s3://cutouts/reports/today/{name}"
            for name in ("report.json", "failures.jsonl", "report.html")
        ]
    bodies, kinds = [], []
    for uri in written:
        ref = ImageRef.parse(uri)
        stored = stack.s3().get_object(Bucket=ref.bucket, Key=ref.key)
        kinds.append(stored["ContentType"])
        bodies.append(stored["Body"].read().decode())
    assert kinds == ["application/json", "application/x-ndjson", "text/html; charset=utf-8"]
    assert RunRecord.model_validate_json(bodies[0]) == run
    assert Failure.model_validate_json(bodies[1]) == run.failures[0]
    assert bodies[2].startswith("<!doctype html>")
    with pytest.raises(ValueError, match="expected a bucket name"):
        write_run_report(run, "s3://A", s3=no_s3, warn=no_warning)


def test_an_unreachable_store_leaves_placeholders(tmp_path: Path) -> None:
    def unreachable() -> "S3Client":
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{free_ports(1)[0]}",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )

    write_run_report(
        record(sample=[outcome("a.png")]), str(tmp_path), s3=unreachable, warn=no_warning
    )
    page = (tmp_path / "report.html").read_text()
    assert page.count("not fetched: S3 did not answer") == 3
    assert "<img" not in page


def shown(thumbnail: Thumbnail) -> Image.Image:
    assert thumbnail.uri, thumbnail.problem
    head, _, data = thumbnail.uri.partition(",")
    assert head == "data:image/webp;base64"
    image = Image.open(io.BytesIO(b64decode(data)))
    assert image.size == thumbnail.size
    return image


def png_with_claimed_size(size: tuple[int, int]) -> bytes:
    """Return a small PNG whose header declares this size."""
    data = as_png(Image.new("1", (8, 8)))
    header = data[12:16] + struct.pack(">II", *size) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def test_thumbnails_are_small_upright_and_transparent(stack: LocalStack, photographs: Path) -> None:
    sideways = Image.Exif()
    sideways[ExifTags.Base.Orientation] = 6
    buffer = io.BytesIO()
    Image.effect_noise((900, 300), 90).convert("RGB").save(buffer, "JPEG", exif=sideways)
    half = Image.new("RGBA", (40, 20), "#f00")
    half.paste((0, 0, 0, 0), (0, 0, 20, 20))
    objects = {
        "sideways.jpg": buffer.getvalue(),
        "half.png": as_png(half),
        "sixteen.png": as_png(Image.new("I;16", (30, 20), 127 * 256)),
        "palette.png": as_png(Image.new("RGB", (500, 20), "#0f0").quantize(2)),
        "noise.png": as_png(Image.effect_noise((400, 400), 200)),
        "text.png": b"no image",
        "empty.png": b"",
        "short.png": (photographs / "coffee.png").read_bytes()[:9_000],
        "bomb.png": png_with_claimed_size((16_000, 16_000)),
        "large.png": as_png(Image.new("1", (8_000, 6_000))),
    }
    s3 = stack.s3()
    for key, data in objects.items():
        s3.put_object(Bucket="cutouts", Key=f"thumbnails/{key}", Body=data)
    refs = {key: ImageRef(bucket="cutouts", key=f"thumbnails/{key}") for key in [*objects, "gone"]}
    refs["nowhere"] = ImageRef(bucket="no-such-bucket", key="a.png")
    thumbnails = fetch_thumbnails([*refs.values()] * 2, s3=lambda: s3)
    assert thumbnails.keys() == set(refs.values())
    assert shown(thumbnails[refs["sideways.jpg"]]).size == (SIDE // 3, SIDE)
    alpha = shown(thumbnails[refs["half.png"]]).getchannel("A")
    assert (alpha.getpixel((2, 10)), alpha.getpixel((38, 10))) == (0, 255)
    assert shown(thumbnails[refs["sixteen.png"]]).convert("L").getextrema() == (127, 127)
    assert shown(thumbnails[refs["palette.png"]]).size == (SIDE, 10)
    noise = thumbnails[refs["noise.png"]].uri
    assert noise
    assert len(noise) < 20_000
    for key in ("text.png", "empty.png", "short.png", "bomb.png", "large.png"):
        assert thumbnails[refs[key]] == Thumbnail(problem="no preview"), key
    assert (
        thumbnails[refs["gone"]].problem
        == thumbnails[refs["nowhere"]].problem
        == "no longer exists"
    )
    small = fetch_thumbnails([refs["noise.png"]], s3=lambda: s3, max_bytes=1_000)
    assert small[refs["noise.png"]].problem == "too large for a preview"
