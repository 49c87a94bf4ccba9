"""Settings of the S3 client that are refused."""

import pytest

from producer.config.settings import SettingsError
from worker.config.settings import WorkerSettings
from worker.pipeline.factory import open_storage


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
