"""The storage of a worker on a real server, with its error codes."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime

import boto3
import pytest
from botocore.config import Config

from deploy.local import LocalStack, free_ports
from producer.contract.s3_uri import ImageRef
from tests.system.chaos.cluster import FAKETIME
from worker.config.access import AllowedPrefix
from worker.config.settings import WorkerSettings
from worker.errors import (
    BucketNotFound,
    CredentialsRefused,
    Forbidden,
    SourceNotFound,
    SourceTooLarge,
    StorageUnavailable,
)
from worker.pipeline.factory import open_storage
from worker.pipeline.storage import S3Storage
from worker.pipeline.stored import Stored

DATA = bytes(range(256)) * 40
EPOCH = datetime.fromtimestamp(0, UTC)


def ref(text: str) -> ImageRef:
    return ImageRef.parse(text)


@pytest.fixture(scope="module")
def storage(stack: LocalStack) -> S3Storage:
    return storage_with(stack)


def storage_with(stack: LocalStack, **keys: str) -> S3Storage:
    env = stack.environment()
    client = boto3.client(
        "s3",
        endpoint_url=keys.get("endpoint", env["AWS_ENDPOINT_URL"]),
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys.get("secret", env["AWS_SECRET_ACCESS_KEY"]),
        region_name="us-east-1",
        config=Config(connect_timeout=1, read_timeout=20, retries={"total_max_attempts": 1}),
    )
    everything = [AllowedPrefix.parse("*")]
    return S3Storage(
        client,
        read_from=[AllowedPrefix.parse("s3://photos")],
        write_to=everything,
        models_from=[AllowedPrefix.parse(keys.get("models", "*"))],
        max_bytes=len(DATA),
    )


def test_what_is_put_is_read_back(storage: S3Storage) -> None:
    place = ref("s3://cutouts/storage/ü ?#%2F&<.png")
    etag = storage.put(place, DATA, content_type="image/png", fingerprint="f1", output="mask")
    stored = storage.head(place)
    assert stored is not None
    assert stored == Stored(etag, len(DATA), "f1", "mask", "image/png", stored.modified)
    storage.renew(place, stored, source="s1")
    renewed = storage.head(place)
    assert renewed is not None
    assert renewed._replace(modified=stored.modified) == stored._replace(source="s1")
    assert (renewed.modified or EPOCH) >= (stored.modified or EPOCH) > EPOCH
    with storage.open(place) as source:
        assert (source.etag, source.length) == (etag, len(DATA))
        assert source.read() == DATA


def test_missing_objects_and_buckets(storage: S3Storage) -> None:
    with pytest.raises(SourceNotFound, match="s3://photos/none: expected an object, found none"):
        storage.open(ref("s3://photos/none"))
    with pytest.raises(BucketNotFound, match="no-such-bucket"):
        storage.open(ref("s3://no-such-bucket/a"))
    with pytest.raises(BucketNotFound):
        storage.put(
            ref("s3://no-such-bucket/a"), b"", content_type="x/y", fingerprint="", output="mask"
        )
    assert storage.head(ref("s3://photos/none")) is None
    assert storage.find_model(ref("s3://models/none.onnx")) is None


def test_a_large_object_is_refused_before_it_is_read(storage: S3Storage) -> None:
    place = ref("s3://cutouts/storage/large")
    storage.put(place, DATA + b"x", content_type="image/png", fingerprint="", output="mask")
    with pytest.raises(SourceTooLarge, match=r"at most 10,240 bytes.*found 10,241"):
        storage.open(place)


def test_a_model_s_profile_is_read_up_to_a_limit(storage: S3Storage, stack: LocalStack) -> None:
    stack.s3().put_object(Bucket="models", Key="beside.json", Body=b"{}  ")
    assert storage.read_profile(ref("s3://models/beside.json"), 100) == b"{}  "
    assert storage.read_profile(ref("s3://models/beside.json"), 2) == b"{}"
    assert storage.read_profile(ref("s3://models/none.json"), 100) is None
    other_storage = storage_with(stack, models="s3://models/own")
    with pytest.raises(Forbidden, match="CUTWORK_MODELS_FROM"):
        other_storage.read_profile(ref("s3://models/beside.json"), 100)


def test_a_stale_source_is_reopened_unless_it_was_replaced(
    storage: S3Storage, stack: LocalStack
) -> None:
    stack.s3().put_object(Bucket="photos", Key="again.bin", Body=DATA)
    with storage.open(ref("s3://photos/again.bin")) as source:
        waited = replace(source, opened_at=time.monotonic() - 60)
        source.close()
        assert waited.read() == DATA
        stack.s3().put_object(Bucket="photos", Key="again.bin", Body=DATA[::-1])
        with pytest.raises(StorageUnavailable, match="PreconditionFailed"):
            waited.read()


def test_sources_and_destinations_are_checked_against_the_allow_lists(storage: S3Storage) -> None:
    storage.check(source=ref("s3://photos/a"), outputs=[ref("s3://cutouts/a")])
    with pytest.raises(Forbidden):
        storage.check(source=ref("s3://cutouts/a"), outputs=[])


def test_wrong_credentials_are_refused(stack: LocalStack) -> None:
    with pytest.raises(CredentialsRefused, match="does not know this worker's credentials"):
        storage_with(stack, secret="wrong").open(ref("s3://photos/rocket.jpg"))


def test_an_unreachable_server_is_a_transient_error(stack: LocalStack) -> None:
    gone = storage_with(stack, endpoint=f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(StorageUnavailable, match="did not answer"):
        gone.open(ref("s3://photos/rocket.jpg"))
    with pytest.raises(StorageUnavailable):
        gone.put(ref("s3://cutouts/a"), b"", content_type="x/y", fingerprint="", output="mask")


@pytest.fixture
def _places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTWORK_READ_FROM", "*")
    monkeypatch.setenv("CUTWORK_WRITE_TO", "*")


@pytest.mark.usefixtures("_places")
def test_missing_credentials_are_a_transient_error(
    monkeypatch: pytest.MonkeyPatch, stack: LocalStack
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.s3_url)
    with pytest.raises(StorageUnavailable, match="credentials"):
        open_storage(WorkerSettings.read(), connections=1).open(ref("s3://photos/rocket.jpg"))


ASK = """
from producer.contract.s3_uri import ImageRef
from worker.config.settings import WorkerSettings
from worker.pipeline.factory import open_storage

open_storage(WorkerSettings.read(), connections=1).open(ImageRef.parse("s3://photos/a.jpg"))
"""


def test_a_wrong_clock_is_named(stack: LocalStack) -> None:
    asked = subprocess.run(
        [sys.executable, "-c", ASK],
        env={
            **os.environ,
            **stack.environment(),
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME": "+3600",
            "CUTWORK_READ_FROM": "*",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "StorageUnavailable: s3://photos/a.jpg: the object store finds this" in asked.stderr
    assert "clock wrong (RequestTimeTooSkewed)" in asked.stderr
