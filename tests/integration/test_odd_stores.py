"""Jobs on object stores that differ from S3: they work, or a sentence says why they do not."""

import gzip
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from deploy.local import LocalStack
from producer import Client, Job, Options, Outcome
from producer.cli.doctor import examine
from producer.config.s3_round_trip import round_trip
from producer.config.settings import SettingsError
from producer.contract.output_metadata import FINGERPRINT, OUTPUT, SOURCE
from producer.contract.run import RunSpec
from producer.contract.s3_uri import ImageRef
from producer.sync.listing.objects import list_objects, listing_client
from producer.sync.plan.listing_plan import listing_plan
from tests.support import odd_stores
from tests.support.odd_stores import Odd
from tests.system.chaos.s3_proxy import Refuse, Reply, S3Proxy
from worker.config.settings import WorkerSettings
from worker.models.files.store import ModelStore
from worker.pipeline.factory import open_limits, open_models, open_storage
from worker.pipeline.job import Pipeline
from worker.pipeline.store_check import check_outputs

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ALL = ("GET", "HEAD", "PUT")
FUTURE = "Fri, 31 Dec 2100 23:59:59 GMT"


def picture(picture_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, picture_format)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def proxy(stack: LocalStack) -> Iterator[S3Proxy]:
    stack.s3().put_object(Bucket="photos", Key="odd/a.png", Body=picture())
    with S3Proxy(int(stack.s3_url.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture(scope="module", autouse=True)
def _environment(stack: LocalStack, proxy: S3Proxy) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment().items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        patch.setenv("CUTWORK_S3_ATTEMPTS", "1")
        yield


@pytest.fixture(scope="module")
def s3() -> "S3Client":
    return listing_client(attempts=1)


@pytest.fixture(scope="module")
def pipeline(store: ModelStore) -> Pipeline:
    settings = WorkerSettings.read()
    return Pipeline(
        storage=open_storage(settings, connections=2),
        models=open_models(settings, store),
        limits=open_limits(settings),
    )


@pytest.fixture
def run(pipeline: Pipeline) -> Callable[..., Outcome]:
    """A function that runs a job with a fresh storage, as a worker that has just started."""
    pipeline = replace(pipeline, storage=replace(pipeline.storage, _opaque_etags=set()))

    def run(name: str, source: str = "odd/a.png") -> Outcome:
        return pipeline.run(
            Job(
                source=ImageRef(bucket="photos", key=source),
                image=ImageRef(bucket="cutouts", key=f"odd/{name}/image.png"),
                mask=ImageRef(bucket="cutouts", key=f"odd/{name}/mask.png"),
                options=Options(enabled=False),
            )
        )

    return run


def keys(stack: LocalStack, name: str) -> list[str]:
    listing = stack.s3().list_objects_v2(Bucket="cutouts", Prefix=f"odd/{name}/")
    return [item["Key"] for item in listing.get("Contents", [])]


@pytest.mark.parametrize("change", [odd_stores.canonical, odd_stores.with_opaque_etags])
def test_a_job_is_done_and_then_skipped(
    proxy: S3Proxy, run: Callable[..., Outcome], change: Callable[[Reply], Reply]
) -> None:
    with proxy.failing(Odd(change), *ALL):
        assert [run(change.__name__).state for _ in range(2)] == ["done", "skipped"]


def test_an_etag_that_is_no_md5_costs_one_request_for_a_bucket(
    proxy: S3Proxy, run: Callable[..., Outcome]
) -> None:
    with (
        proxy.failing(Odd(odd_stores.with_opaque_etags), "GET", place="cutouts/") as reads,
        proxy.failing(Odd(odd_stores.with_opaque_etags), *ALL),
    ):
        assert [run(f"once-{n}").state for n in range(2)] == ["done", "done"]
    assert reads.hits == 1


def test_a_worker_that_may_not_read_outputs_does_not_compare_them(
    proxy: S3Proxy, run: Callable[..., Outcome]
) -> None:
    with (
        proxy.failing(Refuse(403, "AccessDenied"), "GET", place="cutouts/") as reads,
        proxy.failing(Odd(odd_stores.with_opaque_etags), "PUT"),
        proxy.failing(Refuse(403, "AccessDenied"), "HEAD", place="cutouts/"),
    ):
        assert run("write-only").state == "done"
    assert reads.hits > 0


def test_other_bytes_than_those_sent_are_no_output(
    stack: LocalStack, proxy: S3Proxy, run: Callable[..., Outcome]
) -> None:
    with proxy.failing(Odd(odd_stores.framed), *ALL, place="cutouts/"):
        outcome = run("framed")
    assert (outcome.state, outcome.code) == ("failed", "storage_refused")
    assert "cutwork doctor --write s3://cutouts" in str(outcome.message)
    assert keys(stack, "framed") == []


def test_without_metadata_a_job_leaves_no_outputs_that_look_finished(
    stack: LocalStack, proxy: S3Proxy, run: Callable[..., Outcome]
) -> None:
    with proxy.failing(Odd(odd_stores.without_metadata), *ALL):
        assert run("bare").code == "outputs_contested"
    assert keys(stack, "bare") == []


@pytest.mark.parametrize(
    ("method", "status", "code", "expected", "sentence"),
    [
        ("GET", 403, "InvalidObjectState", "archived", "restore it"),
        ("PUT", 501, "NotImplemented", "storage_refused", "CUTWORK_STORAGE_CLASS"),
    ],
)
def test_an_answer_has_its_own_sentence(
    proxy: S3Proxy,
    run: Callable[..., Outcome],
    method: str,
    status: int,
    code: str,
    expected: str,
    sentence: str,
) -> None:
    with proxy.failing(Refuse(status, code), method):
        outcome = run(f"answer-{status}")
    assert outcome.code == expected
    assert sentence in str(outcome.message)


def test_a_compressed_source_is_decoded(stack: LocalStack, run: Callable[..., Outcome]) -> None:
    body = gzip.compress(picture("BMP"))
    stack.s3().put_object(Bucket="photos", Key="odd/a.bmp", Body=body, ContentEncoding="gzip")
    outcome = run("gzip", "odd/a.bmp")
    assert outcome.state == "done"
    assert outcome.source is not None
    assert (outcome.source.format, outcome.source.bytes) == ("BMP", len(body))


def test_a_source_dated_in_the_future_does_not_renew_its_output(
    proxy: S3Proxy, run: Callable[..., Outcome]
) -> None:
    with proxy.failing(Odd(odd_stores.dated(FUTURE)), "GET"):
        assert run("future").state == "done"
        with proxy.failing(Odd(lambda reply: reply), "PUT") as copies:
            assert run("future").state == "skipped"
    assert copies.hits == 0


def test_a_copy_of_another_output_is_not_kept(
    stack: LocalStack, proxy: S3Proxy, run: Callable[..., Outcome]
) -> None:
    assert run("copied").state == "done"
    older = Odd(odd_stores.dated("Mon, 01 Jan 2024 00:00:00 GMT"))
    with proxy.failing(older, "HEAD"):
        with proxy.failing(Odd(odd_stores.with_copied_etag("0" * 32)), "PUT"):
            assert run("copied").code == "outputs_contested"
        # The image is gone, the mask stays; the next job makes both.
        assert keys(stack, "copied") == ["odd/copied/mask.png"]
        assert run("copied").state == "done"


def test_sources_can_be_in_another_store(
    stack: LocalStack, proxy: S3Proxy, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = stack.environment()
    monkeypatch.setenv("CUTWORK_SOURCE_AWS_ENDPOINT_URL", env["AWS_ENDPOINT_URL"])
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"CUTWORK_SOURCE_AWS_{name}", env[f"AWS_{name}"])
    storage = open_storage(WorkerSettings.read(), connections=1)
    place = ImageRef(bucket="cutouts", key="odd/two.png")
    with proxy.failing(Refuse(503, "SlowDown"), "GET"):
        with storage.open(ImageRef(bucket="photos", key="odd/a.png")) as source:
            assert source.read() == picture()
        # Outputs are in the other one.
        storage.put(place, b"x", content_type="x/y", fingerprint="f", output="image", source="e")
        stored = storage.head(place)
    assert stored is not None
    assert (stored.fingerprint, stored.source) == ("f", "e")


def test_the_real_store_passes_a_round_trip(stack: LocalStack, s3: "S3Client") -> None:
    assert round_trip(stack.s3(), bucket="cutouts", prefix="odd/trip/") == []
    assert keys(stack, "trip") == []


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (odd_stores.canonical, None),
        (odd_stores.with_opaque_etags, "copy"),
        (odd_stores.without_metadata, "metadata"),
        (odd_stores.framed, "bytes"),
    ],
)
def test_a_worker_checks_its_store_at_the_start(
    proxy: S3Proxy,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Reply], Reply],
    part: str | None,
) -> None:
    monkeypatch.setenv("CUTWORK_WRITE_TO", "s3://cutouts/odd/start, s3://no-such-bucket, *")
    settings = WorkerSettings.read()
    with proxy.failing(Odd(change), *ALL):
        if part in ("metadata", "bytes"):
            with pytest.raises(SettingsError, match=rf"s3://cutouts/odd/start/: {part}: expected"):
                list(check_outputs(settings))
            return
        lines = list(check_outputs(settings))
    assert any("no-such-bucket/: not checked (NoSuchBucket)" in line for line in lines)
    expected = f"start/: {part}: " if part else "keeps bytes and metadata, copies and lists"
    assert any(expected in line for line in lines)


def test_settings_of_outputs_that_the_store_refuses_end_the_worker(
    proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUTWORK_WRITE_TO", "s3://cutouts")
    monkeypatch.setenv("CUTWORK_STORAGE_CLASS", "NO_SUCH_CLASS")
    with (
        proxy.failing(Refuse(400, "InvalidStorageClass"), "PUT"),
        pytest.raises(SettingsError, match=r"StorageClass.*InvalidStorageClass"),
    ):
        list(check_outputs(WorkerSettings.read()))


def test_a_store_that_does_not_answer_is_no_reason_not_to_start(
    proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUTWORK_WRITE_TO", "s3://cutouts")
    with proxy.failing(Refuse(503, "SlowDown"), *ALL):
        (line,) = check_outputs(WorkerSettings.read())
    assert "not checked (SlowDown)" in line


def test_doctor_names_what_the_store_does_otherwise(proxy: S3Proxy, idle: Client) -> None:
    def findings(change: Callable[[Reply], Reply]) -> dict[str, tuple[bool | None, str]]:
        with proxy.failing(Odd(change), *ALL):
            found = examine(idle, read=["s3://photos/odd"], write=["s3://cutouts/odd"])
            of_s3 = (finding for finding in found if finding.what.startswith("S3"))
            # The checks after these start a process.
            return {what: (ok, text) for what, ok, text in islice(of_s3, 2)}

    assert findings(odd_stores.without_key_count) == {
        "S3 read s3://photos/odd": (True, "listed"),
        "S3 write s3://cutouts/odd": (True, "an object was written, read, copied and listed"),
    }
    ok, text = findings(odd_stores.without_metadata)["S3 write s3://cutouts/odd"]
    assert not ok
    assert text.startswith("metadata: expected the metadata written")


@pytest.mark.parametrize("after", ["a", "a-b", "a.b", "a/b", "a/c", "b"])
def test_a_store_that_lists_by_folders_is_known_behind_a_proxy(
    stack: LocalStack, proxy: S3Proxy, s3: "S3Client", after: str
) -> None:
    keys = ["a", "a-b", "a.b", "a/b", "a/c", "ab", "b/c-d", "b/c/e"]
    if after == "a":
        for key in keys:
            stack.s3().put_object(Bucket="photos", Key=f"folders/{key}")
    with proxy.failing(Odd(odd_stores.without_server), "GET"):
        entries = list_objects(s3, bucket="photos", prefix="folders/", after=f"folders/{after}")
        listed = [entry.key.removeprefix("folders/") for entry in entries]
    assert listed == [key for key in keys if key > after]


def test_the_etag_of_a_source_decides_where_dates_cannot(stack: LocalStack, s3: "S3Client") -> None:
    plain, etags = stack.s3(), {}
    for name in ("same", "other", "unknown"):
        key = f"odd/dates/{name}.png"
        etags[name] = plain.put_object(Bucket="photos", Key=key, Body=name.encode())["ETag"]
    for name, etag in {"same": etags["same"].strip('"'), "other": "old", "unknown": ""}.items():
        metadata = {FINGERPRINT: "f", OUTPUT: "image"} | ({SOURCE: etag} if etag else {})
        plain.put_object(Bucket="cutouts", Key=f"odd/dates/{name}.png", Metadata=metadata)
    spec = RunSpec(source="s3://photos/odd/dates/", image="s3://cutouts/odd/dates/")

    def verdicts(spec: RunSpec) -> list[tuple[str, str]]:
        return [(step.verdict, step.reason) for step in listing_plan(spec, s3)("")]

    assert verdicts(spec) == [("current", "newer")] * 3
    checked = verdicts(spec.model_copy(update={"check_sources": True}))
    assert checked == [("send", "replaced"), ("current", "newer"), ("current", "newer")]
