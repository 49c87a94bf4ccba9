"""Settings: a wrong value is refused by the variable's name."""

import pytest
import redis
from redis.exceptions import (
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    MovedError,
)

from producer.config.broker_url import failure_advice, failure_verb
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
    ("url", "advice"),
    [
        ("sentinel://a:26379;sentinel://b:26379", "a proxy that follows the primary"),
        ("redis+sentinel://a:26379/mymaster", "a proxy that follows the primary"),
        ("redis+socket:///run/redis.sock", "give the server a TCP port"),
        ("unix:///run/redis.sock", "give the server a TCP port"),
        ("redis-cluster://a:6379", "one with cluster mode disabled"),
        ("amqp://rabbit", "other brokers are not supported"),
        ("sqs://", "other brokers are not supported"),
        ("valkey://a:6379/0", "Valkey is reached with redis://"),
        ("VALKEYS://a:6379/0", "Valkey with TLS is reached with rediss://"),
        ("localhost:6379", "begins with redis:// or rediss://"),
    ],
)
def test_another_scheme_is_refused_with_what_to_do(url: str, advice: str) -> None:
    with pytest.raises(SettingsError, match=r"^CUTWORK_BROKER_URL: expected a URL") as caught:
        ProducerSettings.read(broker_url=url)
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("error", "verb", "advice"),
    [
        (redis.AuthenticationError("WRONGPASS"), "refuses", "correct user and password"),
        (redis.AuthenticationError("no password is set"), "refuses", "has no password; remove"),
        (redis.ResponseError("DB index is out of range"), "refuses", "setting `databases`"),
        (redis.BusyLoadingError("loading"), "is loading its data", "wait until it has read"),
        (MovedError("1 127.0.0.1:1"), "refuses", "Redis Cluster is not supported"),
        (ClusterCrossSlotError("Keys"), "refuses", "Redis Cluster is not supported"),
        (ClusterDownError("Hash slot"), "refuses", "Redis Cluster is not supported"),
        (redis.ResponseError("SELECT is not allowed in cluster mode"), "refuses", "Redis Cluster"),
        (MasterDownError("Link with MASTER is down"), "refuses", "accepts writes"),
        (redis.ResponseError("READONLY"), "refuses", "accepts writes"),
        (redis.ConnectionError("refused"), "does not answer", "is it running"),
    ],
)
def test_a_failure_of_the_broker_says_what_it_is(error: Exception, verb: str, advice: str) -> None:
    assert failure_verb(error) == verb
    assert advice in failure_advice(error)


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
