"""Credentials are removed from texts in every spelling; the project's own texts are kept."""

import ast
import base64
import json
import re
from pathlib import Path
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest

from producer.config.credentials import require_usable_credentials
from producer.config.settings import ProducerSettings, SettingsError
from producer.observability.redact import redact, secrets_of

ROOT = Path(__file__).parents[2]
SECRET = "aB/+=&%é\"'\\s3cret"
ENDED = SECRET + "\n"


@pytest.mark.parametrize("value", [SECRET, ENDED, SECRET + "\r\n", f" {SECRET}"])
@pytest.mark.parametrize(
    "spell",
    [
        str,
        str.strip,
        repr,
        lambda text: repr(text.encode()),
        json.dumps,
        lambda text: json.dumps(text, ensure_ascii=False),
        lambda text: quote(text, safe=""),
        quote,
        lambda text: re.sub("%..", lambda code: code[0].lower(), quote_plus(text)),
        lambda text: quote(quote(text, safe=""), safe=""),
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(text.strip().encode()).decode(),
        escape,
    ],
)
@pytest.mark.parametrize("name", ["AWS_SESSION_TOKEN", "CUTWORK_SOURCE_AWS_SECRET_ACCESS_KEY"])
def test_every_spelling_of_a_secret_is_removed(value: str, spell: object, name: str) -> None:
    assert callable(spell)
    clean = redact(f"x={spell(value)};y", secrets=secrets_of({name: value}))
    assert "s3cret" not in clean
    assert base64.b64encode(SECRET.encode()).decode()[:12] not in clean
    assert clean.startswith("x=")
    assert clean.endswith(";y")


@pytest.mark.parametrize(
    "name", ["CUTWORK_BROKER_URL", "CUTWORK_MODEL_MIRROR", "HTTPS_PROXY", "AWS_ENDPOINT_URL"]
)
def test_the_password_of_any_url_is_removed(name: str) -> None:
    secrets = secrets_of({name: "https://user:p%40ss%2Fw0rd@host/"})
    basic = base64.b64encode(b"user:p@ss/w0rd").decode()
    for text in ("p@ss/w0rd", "p%40ss%2Fw0rd", "p%40ss%2fw0rd", basic, f"Basic {basic}"):
        assert text.removeprefix("Basic ") not in redact(f"got {text}", secrets=secrets)


def test_the_texts_of_the_project_are_kept() -> None:
    for path in [*(ROOT / "producer").rglob("*.py"), *(ROOT / "worker").rglob("*.py")]:
        if path.name == "redact.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert redact(node.value) == node.value, path


def test_the_help_about_the_broker_url_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTWORK_BROKER_URL", "redis://:s3cret@host/abc")
    with pytest.raises(SettingsError) as caught:
        ProducerSettings.read()
    assert "expected redis://[user:password@]host[:port][/database number]" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_line_end_of_the_broker_url_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTWORK_BROKER_URL", "redis://:s3cret@host/1\n")
    assert ProducerSettings.read().broker_url == "redis://:s3cret@host/1"
    monkeypatch.setenv("CUTWORK_BROKER_URL", "redis://:s3cret\n@host/1")
    with pytest.raises(SettingsError, match="without white space") as caught:
        ProducerSettings.read()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"])
@pytest.mark.parametrize("prefix", ["AWS_", "CUTWORK_SOURCE_AWS_"])
@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("s3cret\n", "a line end at its end"),
        ("s3cret\r\n", "a line end as character 7"),
        (" s3cret", "U+0020 as character 1"),
        ("s3cr\u00e9t", "U+00E9 as character 5"),
    ],
)
def test_an_unusable_credential_is_refused_by_name(
    prefix: str, name: str, value: str, found: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        require_usable_credentials({prefix + name: value}, prefix=prefix)
    assert str(caught.value).startswith(f"{prefix}{name}: expected printable ASCII")
    assert f"found {found};" in str(caught.value)
    assert "s3cr" not in str(caught.value)
    require_usable_credentials({prefix + name: "s3cret/+=", "OTHER": value}, prefix=prefix)
