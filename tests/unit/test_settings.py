"""Settings: a wrong value is refused by the variable's name."""

import pytest

from producer.config.settings import ProducerSettings, SettingsError
from worker.config.settings import ModelSettings, WorkerSettings

PLACES = {"CUTWORK_READ_FROM": "s3://photos/in, s3://more", "CUTWORK_WRITE_TO": "s3://cutouts"}


@pytest.fixture
def _places(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLACES.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_places")
def test_lists_are_separated_by_commas() -> None:
    settings = WorkerSettings.read()
    assert settings.read_from == ("s3://photos/in", "s3://more")
    assert settings.models_from == ()


@pytest.mark.usefixtures("_places")
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CUTWORK_MAX_PIXELS", "many", "valid integer"),
        ("CUTWORK_MAX_PIXELS", "0", "greater than or equal to 1"),
        ("CUTWORK_BROKER_URL", "amqp://rabbit", "begins with redis://"),
        ("CUTWORK_BROKER_URL", "redis://localhost/abc", "[/database number]"),
        ("CUTWORK_BROKER_URL", "redis://localhost:port/0", "host[:port]"),
        ("CUTWORK_BROKER_URL", "redis://localhost:6379/0?foo=bar", "no query after redis://"),
        ("CUTWORK_BROKER_URL", "redis://localhost/0?ssl_ca_certs=/ca.pem", "TLS is rediss://"),
        ("CUTWORK_BROKER_URL", "rediss://localhost/0?foo=bar", "no other query"),
        ("CUTWORK_BROKER_URL", "rediss://localhost?ssl_cert_reqs=none", "expected required"),
        ("CUTWORK_BROKER_URL", "rediss://localhost?ssl_cert_reqs=optional", "expected required"),
        ("CUTWORK_BROKER_URL", "rediss://localhost?ssl_cert_reqs=", "expected required"),
        ("CUTWORK_BROKER_URL", "rediss://localhost?ssl_check_hostname=false", "no other query"),
        ("CUTWORK_OUTCOME_TTL", "99999999999999999999", "less than or equal to"),
        ("CUTWORK_READ_FROM", "s3://*/private", "expected s3://bucket, s3://bucket/folder or *"),
        ("CUTWORK_READ_FROM", "https://photos", "expected s3://bucket, s3://bucket/folder or *"),
        ("CUTWORK_WRITE_TO", ",", "at least 1 item"),
        ("CUTWORK_THREADS", "-1", "greater than or equal to 0"),
        ("CUTWORK_S3_READ_TIMEOUT", "0", "greater than 0"),
        ("CUTWORK_MODEL_MIRROR", "ftp://x", "match pattern"),
    ],
)
def test_a_wrong_value_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        WorkerSettings.read()
    text = str(caught.value)
    assert text.startswith(f"{name}: ")
    assert expected in text
    assert value in text or value == ","


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("rediss://broker", "rediss://broker?ssl_cert_reqs=required"),
        ("rediss://broker/3?", "rediss://broker/3?ssl_cert_reqs=required"),
        ("rediss://broker?ssl_cert_reqs=required", "rediss://broker?ssl_cert_reqs=required"),
        (
            "rediss://u:p@broker:1/0?ssl_ca_certs=/ca.pem",
            "rediss://u:p@broker:1/0?ssl_ca_certs=/ca.pem&ssl_cert_reqs=required",
        ),
        ("redis://broker/0", "redis://broker/0"),
    ],
)
def test_tls_is_verified_unless_disabled(url: str, taken: str) -> None:
    assert ProducerSettings.read(broker_url=url).broker_url == taken


@pytest.mark.parametrize(
    "url",
    [
        "amqp://user:s3cret@rabbit",
        "redis://:s3cret@x/y@localhost/abc",
        "redis://localhost/0?password=s3cret",
        "http://:s3cret" + "x" * 200 + "@localhost",
    ],
)
def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CUTWORK_BROKER_URL", url)
    with pytest.raises(SettingsError, match="CUTWORK_BROKER_URL") as caught:
        ProducerSettings.read()
    assert "s3cret" not in str(caught.value)


def test_missing_variables_are_named() -> None:
    with pytest.raises(SettingsError) as caught:
        WorkerSettings.read()
    assert "CUTWORK_READ_FROM: field required" in str(caught.value)
    assert "CUTWORK_WRITE_TO: field required" in str(caught.value)


def test_an_empty_variable_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTWORK_MAX_PIXELS", "")
    monkeypatch.setenv("CUTWORK_BROKER_URL", "")
    assert ModelSettings.read().max_pixels == 100_000_000
    assert ProducerSettings.read().broker_url == "redis://localhost:6379/0"
