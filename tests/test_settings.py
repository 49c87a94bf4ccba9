"""Settings: a wrong value is refused at start, by the variable's name."""

import os
import subprocess
import sys

import pytest

from producer.settings import ProducerSettings, SettingsError
from worker.settings import ModelSettings, WorkerSettings

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
        ("CUTWORK_BROKER_URL", "amqp://rabbit", "match pattern"),
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


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SettingsError) as caught:
        WorkerSettings.read()
    assert "CUTWORK_READ_FROM: field required" in str(caught.value)
    assert "CUTWORK_WRITE_TO: field required" in str(caught.value)


def test_an_empty_variable_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTWORK_MAX_PIXELS", "")
    monkeypatch.setenv("CUTWORK_BROKER_URL", "")
    assert ModelSettings.read().max_pixels == 100_000_000
    assert ProducerSettings.read().broker_url == "redis://localhost:6379/0"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "cutwork: CUTWORK_READ_FROM: field required"),
        ({**PLACES, "CUTWORK_MAX_PIXELS": "1e9"}, "cutwork: CUTWORK_MAX_PIXELS: input should be"),
        (
            {**PLACES, "CUTWORK_CONCURRENCY": "lots"},
            "cutwork: CUTWORK_CONCURRENCY='lots': expected a whole number of at least 1",
        ),
        ({**PLACES, "CUTWORK_PRELOAD": "u3net"}, "cutwork: model: expected one of isnet-general"),
    ],
)
def test_a_worker_refuses_to_start_with_one_clear_line(
    variables: dict[str, str], sentence: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", "worker"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
