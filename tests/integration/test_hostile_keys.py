"""Keys with special characters are opaque to S3, to the worker's files and to its log."""

import hashlib
import io
import re
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from deploy.child import Child
from deploy.local import LocalStack
from producer import Client, Options
from producer.contract.s3_uri import ImageRef
from tests.support.jobs import run
from tests.support.patience import PATIENCE
from worker.errors import ModelInvalid
from worker.models.files.file_cache import FileCache
from worker.models.files.store import ModelObject, ModelStore, RemoteModels

pytestmark = pytest.mark.usefixtures("worker")

FORGED = "a\n[2026-11-22 08:00:00,000: INFO/MainProcess] job forged done in 0.00 s"
OPAQUE = [
    *("line\nbreak", "return\r", "tab\t", "\x1b[31mred", "\x7f", "\x85", "\u2028", FORGED),
    *("q'\"<script>alert(1)</script>&amp;", "</bdi><img src=x onerror=alert(1)>", "{{ 7 * 7 }}"),
    *("%2e%2e/x", "%00", "?q=1&x", "#frag", "a+b c", "*", "~/.ssh/x", "a..b", ".../x", "-rf"),
    *("\u202egnp.exe", "\ufeffbom", "😀", "\U0010ffff", "${HOME}$(id)`id`", "d" * 250 + "/x"),
    "b/" * 500 + "c",
]
REFUSED = ["../up", "a/../b", "a/../../private/s", "./x", "nul\0", "a\\..\\..\\private\\s"]
"""Keys that SeaweedFS refuses; other stores accept them."""
FORMS = {form: unicodedata.normalize(form, "hostile/é-Å") for form in ("NFC", "NFD")}


@pytest.fixture(scope="module")
def image() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "PNG")
    return buffer.getvalue()


def done(client: Client, key: str) -> str | None:
    outcome = run(
        client, f"s3://photos/{key}", mask=f"s3://cutouts/{key}", options=Options(enabled=False)
    )
    return outcome.code or outcome.state


@pytest.mark.parametrize("key", OPAQUE, ids=range(len(OPAQUE)))
def test_a_key_is_read_and_written_unchanged(
    client: Client, stack: LocalStack, image: bytes, key: str
) -> None:
    key = f"hostile/{key}"
    s3 = stack.s3()
    s3.put_object(Bucket="photos", Key=key, Body=image)
    assert done(client, key) == "done"
    objects = s3.list_objects_v2(Bucket="cutouts", Prefix="hostile/")["Contents"]
    assert key in {item["Key"] for item in objects}


def test_the_two_unicode_normal_forms_are_different_keys(
    client: Client, stack: LocalStack, image: bytes
) -> None:
    s3 = stack.s3()
    s3.put_object(Bucket="photos", Key=FORMS["NFC"], Body=image)
    assert done(client, FORMS["NFD"]) == "source_not_found"
    s3.put_object(Bucket="photos", Key=FORMS["NFD"], Body=image)
    assert done(client, FORMS["NFD"]) == "done"
    s3.head_object(Bucket="cutouts", Key=FORMS["NFD"])
    with pytest.raises(s3.exceptions.ClientError):
        s3.head_object(Bucket="cutouts", Key=FORMS["NFC"])


@pytest.mark.parametrize("key", REFUSED, ids=range(len(REFUSED)))
def test_a_key_that_the_store_refuses_is_storage_refused(client: Client, key: str) -> None:
    """The object store refuses the key; no path or URL changes it on the way there."""
    assert done(client, key) == "storage_refused"


def test_a_key_beyond_the_limit_of_s3_is_refused() -> None:
    assert ImageRef(bucket="photos", key="é" * 512)
    with pytest.raises(ValueError, match="the key has 1025 bytes"):
        ImageRef(bucket="photos", key="é" * 512 + "x")
    with pytest.raises(ValueError, match="not valid Unicode"):
        ImageRef(bucket="photos", key="\udc80")


def test_no_key_forges_a_log_line(client: Client, worker: Child) -> None:
    """The job fails, or its model has such a name."""
    for key, options in (
        (f"missing/{FORGED}", Options(enabled=False)),
        ("rocket.jpg", Options(model=f"s3://models/{FORGED}.onnx")),
        ("rocket.jpg", Options(model=f"../{FORGED}")),
    ):
        source = f"s3://photos/{key}"
        outcome = run(client, source, image="s3://cutouts/x.png", options=options)
        assert outcome.state == "failed"
        line = f"job {outcome.job_id} failed: {outcome.code}"
        worker.wait_until(lambda line=line: line in worker.tail(10_000), timeout=PATIENCE)  # type: ignore[misc]  # the default
    log = worker.log.read_text()
    assert "job forged done" in log
    assert "\n[2026-11-22 08:00:00,000: INFO/MainProcess] job forged" not in log
    ours = log[log.index(f"] {worker.name}@local ready.") :]
    assert all(line.isprintable() for line in ours.split("\n"))
    assert re.findall(r"^(?!\[\d{4}-|    |$).*", ours[2:].partition("\n")[2], re.MULTILINE) == []


@pytest.mark.parametrize("key", [*OPAQUE[:13], *REFUSED])
def test_a_model_s_key_never_becomes_a_path(tmp_path: Path, key: str) -> None:
    (tmp_path / "cache" / "models").mkdir(parents=True)

    def download(ref: ImageRef, etag: str, path: Path) -> None:
        path.write_bytes(ref.key.encode())

    remote = RemoteModels(
        find=lambda _: ModelObject("1", 1), download=download, read=lambda *_: None
    )
    name = f"s3://models/{key}.onnx"
    model = ModelStore(FileCache(tmp_path / "cache" / "models"), remote=remote).resolve(name)
    assert model.sha256 == hashlib.sha256(f"{key}.onnx".encode()).hexdigest()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert model.path in written
    for path in written:
        assert re.fullmatch(r"cache/models/(s3/)?[0-9a-z.-]+", str(path.relative_to(tmp_path))), (
            path
        )


def test_a_model_key_with_another_suffix_is_refused(tmp_path: Path) -> None:
    remote = RemoteModels(
        find=lambda _: ModelObject("1", 1), download=lambda *_: None, read=lambda *_: None
    )
    with pytest.raises(ModelInvalid, match="expected a file ending in"):
        ModelStore(FileCache(tmp_path), remote=remote).resolve("s3://models/a.onnx/../../x.sh")
