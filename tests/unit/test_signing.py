"""Keys and certificates for signing: wrong ones are refused by name."""

from pathlib import Path

import pytest

from producer import Client
from producer.config.settings import ProducerSettings, SettingsError
from producer.config.signing import register_signing
from tests.support.signing_keys import signing_variables, write_signing_keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_signing_keys(tmp_path_factory.mktemp("keys"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"CUTWORK_SIGNING_STORE": ""}, "not set: CUTWORK_SIGNING_STORE"),
        ({"CUTWORK_SIGNING_KEY": "stranger.key"}, "CUTWORK_SIGNING_CERTIFICATE: "),
        ({"CUTWORK_SIGNING_KEY": "none.key"}, "CUTWORK_SIGNING_KEY: "),
        ({"CUTWORK_SIGNING_KEY": "worker.pem"}, "CUTWORK_SIGNING_KEY: "),
        ({"CUTWORK_SIGNING_CERTIFICATE": "late.pem"}, "CUTWORK_SIGNING_CERTIFICATE: "),
        ({"CUTWORK_SIGNING_STORE": "empty"}, "expected a folder of certificates"),
    ],
)
def test_wrong_files_are_named(
    changes: dict[str, str],
    sentence: str,
    keys: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (keys / "empty").mkdir(exist_ok=True)
    paths = {name: value and str(keys / value) for name, value in changes.items()}
    for name, value in (signing_variables(keys, "producer") | paths).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        register_signing(ProducerSettings.read().signing)
    assert sentence in str(caught.value)


def test_a_key_that_is_not_in_the_store_is_named(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in signing_variables(keys, "stranger").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="Unknown certificate"):
        Client("redis://127.0.0.1:1/0")
