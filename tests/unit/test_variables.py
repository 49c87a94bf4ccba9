"""Variables that Cutwork does not know are warned about with the nearest name."""

import logging
import re
from pathlib import Path

import pytest

from deploy.reference.settings import CELERY_VARIABLES
from producer.config import variables
from producer.config.settings import EnvironmentSettings, ProducerSettings
from producer.config.variables import KNOWN, unknown_variables
from worker.config.settings import WorkerSettings

ROOT = Path(__file__).parents[2]


def settings_classes(parent: type[EnvironmentSettings]) -> list[type[EnvironmentSettings]]:
    children = parent.__subclasses__()
    return [*children, *(one for child in children for one in settings_classes(child))]


def test_every_variable_is_known() -> None:
    assert WorkerSettings in settings_classes(EnvironmentSettings)
    fields = {name for one in settings_classes(EnvironmentSettings) for name in one.model_fields}
    read = set(re.findall(r'"(CUTWORK_\w+)"', (ROOT / "celeryconfig.py").read_text()))
    assert {f"CUTWORK_{name.upper()}" for name in fields} | {*CELERY_VARIABLES} | read == KNOWN


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("CUTWORK_CONCURENCY", "CUTWORK_CONCURRENCY"),
        ("CUTWORK_READFROM", "CUTWORK_READ_FROM"),
        ("CUTWORK_BROKER", "CUTWORK_BROKER_URL"),
        ("CUTWORK_METRIC_PORT", "CUTWORK_METRICS_PORT"),
        ("CUTWORK_ACCEPT_LICENCES", "CUTWORK_ACCEPT_LICENSES"),
        ("CUTWORK_broker_url", None),
    ],
)
def test_the_nearest_name_is_given(name: str, near: str | None) -> None:
    (sentence,) = unknown_variables({name: "s3cret", "CUTWORK_BROKER_URL": "redis://x", "PATH": ""})
    assert sentence.startswith(f"{name}: expected the name of a variable")
    assert "s3cret" not in sentence
    assert near is None or sentence.endswith(f"did you mean {near}?")


def test_the_variables_of_services_in_kubernetes_are_no_mistakes() -> None:
    environment = {
        "CUTWORK_EXPORTER_SERVICE_HOST": "10.0.0.1",
        "CUTWORK_EXPORTER_SERVICE_PORT": "9465",
        "CUTWORK_EXPORTER_SERVICE_PORT_METRICS": "9465",
        "CUTWORK_EXPORTER_PORT": "tcp://10.0.0.1:9465",
        "CUTWORK_EXPORTER_PORT_9465_TCP": "tcp://10.0.0.1:9465",
        "CUTWORK_EXPORTER_PORT_9465_TCP_ADDR": "10.0.0.1",
    }
    assert unknown_variables(environment) == []


def test_a_process_warns_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(variables, "_warned", set())
    monkeypatch.setenv("CUTWORK_TENNANT", "shop")
    with caplog.at_level(logging.WARNING):
        ProducerSettings.read()
        ProducerSettings.read()
    assert [record.message.rpartition("; ")[2] for record in caplog.records] == [
        "did you mean CUTWORK_TENANT?"
    ]
