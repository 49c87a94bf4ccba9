"""Clients of the object stores: what they send to AWS and to others, and two stores at once."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from producer.config.s3_client import is_aws, open_s3
from producer.config.s3_settings import S3Settings
from producer.config.settings import SettingsError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class Sent(Exception):
    """Ends a request before it is sent."""


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "default-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "default-secret")


def client(**values: Any) -> "S3Client":
    return open_s3(S3Settings.read(**values), attempts=1)


def sent(s3: "S3Client", operation: str = "put_object", **values: Any) -> dict[str, str]:
    """Return the headers of a request, and its URL."""
    caught: dict[str, str] = {}

    def stop(request: Any, **_: object) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        text = {name: v.decode() if isinstance(v, bytes) else v for name, v in headers.items()}
        caught.update({**text, "url": request.url})
        raise Sent

    s3.meta.events.register("before-send.s3", stop)
    values = {"Bucket": "photos", "Key": "a", **values}
    if operation == "put_object":
        values["Body"] = b"x"
    with pytest.raises(Sent):
        getattr(s3, operation)(**values)
    s3.meta.events.unregister("before-send.s3", stop)
    return caught


@pytest.mark.parametrize(
    "endpoint", ["https://s3.example.com", "http://127.0.0.1:9", "https://s3.amazonaws.com.evil.io"]
)
def test_another_store_than_aws_gets_no_checksum_trailer(
    monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    s3 = client()
    assert not is_aws(s3)
    headers = sent(s3)
    assert not [name for name in headers if "checksum" in name or name == "x-amz-trailer"]
    assert "aws-chunked" not in headers.get("content-encoding", "")
    assert headers["content-length"] == "1"
    assert "x-amz-checksum-mode" not in sent(s3, "get_object")


@pytest.mark.parametrize("region", ["eu-central-1", "cn-north-1"])
def test_aws_gets_a_checksum(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    s3 = client()
    assert is_aws(s3)
    assert sent(s3)["x-amz-trailer"] == "x-amz-checksum-crc32"


def test_requester_pays_is_sent_with_every_request_about_objects() -> None:
    s3 = client(requester_pays=True)
    for operation in ("put_object", "get_object", "head_object", "delete_object"):
        assert sent(s3, operation)["x-amz-request-payer"] == "requester"
    assert "x-amz-request-payer" not in sent(client())


def test_sources_have_a_store_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://outputs.example.com")
    settings = S3Settings.read(
        source_aws_endpoint_url="http://sources.example.com:9000",
        source_aws_access_key_id="source-key",
        source_aws_secret_access_key="source-secret",
        source_aws_region="eu-west-1",
    )
    assert settings.has_source_store
    sources = sent(open_s3(settings, for_sources=True, attempts=1), "get_object")
    assert sources["url"] == "http://sources.example.com:9000/photos/a"
    assert "Credential=source-key/" in sources["authorization"]
    assert "/eu-west-1/s3/" in sources["authorization"]
    others = sent(open_s3(settings, attempts=1), "get_object")
    assert others["url"] == "http://outputs.example.com/photos/a"
    assert "Credential=default-key/" in others["authorization"]


@pytest.mark.parametrize(
    ("line", "url"),
    [
        ("endpoint_url = http://old.example.com", "http://old.example.com/photos/a"),
        ("services = those", "http://new.example.com/photos/a"),
        ("region = eu-west-1", "https://photos.s3.eu-west-1.amazonaws.com/a"),
    ],
)
def test_a_profile_has_its_own_endpoint_and_keys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, url: str
) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[profile archive]\naws_access_key_id = archive-key\naws_secret_access_key = s\n"
        f"{line}\n[services those]\ns3 =\n  endpoint_url = http://new.example.com\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://outputs.example.com")
    settings = S3Settings.read(source_aws_profile="archive")
    headers = sent(open_s3(settings, for_sources=True, attempts=1), "get_object")
    assert headers["url"] == url
    assert "Credential=archive-key/" in headers["authorization"]


def test_without_a_store_of_their_own_sources_are_where_outputs_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://outputs.example.com")
    settings = S3Settings.read()
    assert not settings.has_source_store
    headers = sent(open_s3(settings, for_sources=True, attempts=1), "get_object")
    assert headers["url"] == "http://outputs.example.com/photos/a"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"SOURCE_AWS_ENDPOINT_URL": "minio:9000"}, "CUTWORK_SOURCE_AWS_ENDPOINT_URL"),
        ({"SOURCE_AWS_ACCESS_KEY_ID": "AKIA"}, "together, found one without the other"),
        ({"SOURCE_AWS_SESSION_TOKEN": "t" * 20}, "together, found one without the other"),
        (
            {
                "SOURCE_AWS_PROFILE": "p",
                "SOURCE_AWS_ACCESS_KEY_ID": "AKIA",
                "SOURCE_AWS_SECRET_ACCESS_KEY": "very-secret",
            },
            "found both; unset one",
        ),
        ({"REQUESTER_PAYS": "perhaps"}, "CUTWORK_REQUESTER_PAYS"),
    ],
)
def test_a_wrong_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"CUTWORK_{name}", value)
    with pytest.raises(SettingsError, match=sentence) as caught:
        S3Settings.read()
    assert "very-secret" not in str(caught.value)


def test_an_unknown_profile_is_refused() -> None:
    settings = S3Settings.read(source_aws_profile="nobody")
    with pytest.raises(SettingsError, match=r"nobody.*CUTWORK_SOURCE_AWS_PROFILE"):
        open_s3(settings, for_sources=True, attempts=1)


def test_secrets_are_not_shown() -> None:
    settings = S3Settings.read(
        source_aws_access_key_id="k", source_aws_secret_access_key="very-secret"
    )
    assert "very-secret" not in repr(settings)


def test_the_profile_of_outputs_does_not_give_sources_an_endpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile outputs]\nendpoint_url = http://outputs.example.com\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "outputs")
    settings = S3Settings.read(source_aws_region="eu-west-1")
    headers = sent(open_s3(settings, for_sources=True, attempts=1), "get_object")
    assert headers["url"] == "https://photos.s3.eu-west-1.amazonaws.com/a"
