"""Settings of the object store, and what its answers say about an object."""

import hashlib
from typing import Any

import pytest

from producer.config.settings import SettingsError
from producer.contract.s3_uri import ImageRef
from worker.config.settings import OutputSettings, WorkerSettings
from worker.pipeline.factory import open_storage
from worker.pipeline.stored import Stored, describe_output, has_other_md5, is_other_copy

DATA = b"an output"
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
OTHER = "0" * 32


def stored(etag: str, **answer: str) -> Stored:
    """Return what a HEAD request says about an output with this ETag."""
    response: Any = {"ETag": f'"{etag}"', "ContentLength": len(DATA), **answer}
    return Stored.from_response(response, ImageRef(bucket="cutouts", key="a.png"))


@pytest.fixture
def _places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTWORK_READ_FROM", "*")
    monkeypatch.setenv("CUTWORK_WRITE_TO", "*")


@pytest.mark.usefixtures("_places")
@pytest.mark.parametrize(
    ("name", "value"), [("AWS_ENDPOINT_URL", "nonsense"), ("AWS_PROFILE", "nobody")]
)
def test_an_invalid_setting_of_the_sdk_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"{value}.*{name}"):
        open_storage(WorkerSettings.read(), connections=1)


def test_outputs_are_stored_as_the_settings_say() -> None:
    assert OutputSettings.read().put_arguments() == {}
    settings = OutputSettings.read(
        storage_class="STANDARD_IA",
        cache_control="public, max-age=86400",
        kms_key="alias/images",
        acl="bucket-owner-full-control",
    )
    assert settings.put_arguments() == {
        "StorageClass": "STANDARD_IA",
        "CacheControl": "public, max-age=86400",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "alias/images",
        "ACL": "bucket-owner-full-control",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STORAGE_CLASS", "standard_ia"),
        ("STORAGE_CLASS", "GLACIER"),
        ("STORAGE_CLASS", "DEEP_ARCHIVE"),
        ("ACL", "everyone"),
        ("KMS_KEY", "my key"),
        ("KMS_KEY", "arn:aws:s3:::bucket"),
        ("CACHE_CONTROL", "no-cache\r\nX-Evil: 1"),
        ("CACHE_CONTROL", "für immer"),
    ],
)
def test_a_wrong_setting_of_outputs_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"CUTWORK_{name}", value)
    with pytest.raises(SettingsError, match=f"CUTWORK_{name}"):
        OutputSettings.read()


@pytest.mark.parametrize(
    ("response", "other"),
    [
        ({"ETag": f'"{MD5}"'}, False),
        ({"ETag": MD5}, False),
        ({"ETag": f'"{OTHER}"'}, True),
        ({"ETag": f'"{OTHER}"', "ServerSideEncryption": "AES256"}, True),
        ({"ETag": f'"{OTHER}"', "ServerSideEncryption": "aws:kms"}, False),
        ({"ETag": f'"{OTHER}"', "ServerSideEncryption": "aws:kms:dsse"}, False),
        ({"ETag": f'"{OTHER}-1"'}, False),
        ({"ETag": '"v1"'}, False),
        ({}, False),
    ],
)
def test_an_etag_is_compared_where_it_is_an_md5(response: dict[str, Any], other: bool) -> None:
    assert has_other_md5(response, DATA) is other
    copied: Any = {**response, "CopyObjectResult": response}
    assert is_other_copy(copied, stored(MD5)) is other
    assert not is_other_copy(copied, stored("v1"))
    # The setting CUTWORK_KMS_KEY was removed after the output was stored.
    assert not is_other_copy(copied, stored(MD5, ServerSideEncryption="aws:kms"))


def test_an_etag_that_cannot_be_a_header_is_left_out() -> None:
    assert describe_output("f", "mask", "e-1")["cutwork-source"] == "e-1"
    for etag in ("", "é", "a\r\nb"):
        assert "cutwork-source" not in describe_output("f", "mask", etag)
