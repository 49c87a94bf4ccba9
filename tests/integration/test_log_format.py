"""A record is one line without credentials, whatever untrusted text it contains."""

import logging
from collections.abc import Iterator

import pytest

from deploy.local import LocalStack
from producer import Client
from producer.cli.doctor import examine
from producer.config.settings import SettingsError
from producer.contract.untrusted_text import escape_unprintable
from producer.observability.log_format import LineFormatter
from producer.observability.redact import redact, secrets_of
from tests.integration.test_redirects import PLACE
from tests.support.captured_log import SECRET, CapturedLog, captured_log
from worker.config.settings import WorkerSettings
from worker.errors import CredentialsRefused
from worker.pipeline.factory import open_storage

PASSWORD = "p@ss/w0rd:of?ours"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[CapturedLog]:
    with captured_log(monkeypatch) as log:
        yield log


FORGED = "a.jpg\n[INFO] job 1 done\r\x1b[2K\x85\u2028\u202egpj.exe"
ESCAPED = r"a.jpg\n[INFO] job 1 done\r\x1b[2K\x85\u2028\u202egpj.exe"


def test_a_key_forges_no_line(log: CapturedLog) -> None:
    log.logger.warning("job %s failed: %s", 1, FORGED)
    log.logger.warning(f"job 2 failed: {FORGED}")
    assert log.text.getvalue() == (
        f"[WARNING] job 1 failed: {ESCAPED}\n[WARNING] job 2 failed: {ESCAPED}\n"
    )


def test_an_error_s_text_forges_no_line_below_its_traceback(log: CapturedLog) -> None:
    try:
        try:
            raise ValueError(FORGED)
        except ValueError as error:
            raise RuntimeError(f"{SECRET}\n[INFO] again") from error
    except RuntimeError:
        log.logger.exception("job 3", stack_info=True)
    lines = log.text.getvalue().splitlines()
    assert lines[0] == "[ERROR] job 3"
    assert len(lines) > 8
    assert all(line.startswith("    ") and line.isprintable() for line in lines[1:])
    assert "    RuntimeError: ***" in lines


def test_other_handlers_get_the_record_as_it_was(
    log: CapturedLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.logger.warning("job %s", FORGED)
    assert caplog.records[-1].args == (FORGED,)


def test_a_record_with_wrong_arguments_is_still_written() -> None:
    record = logging.LogRecord("test", logging.WARNING, "", 1, "%d of %d", ("one",), None)
    assert LineFormatter().format(record) == "WARNING: '%d of %d' ('one',)"


def test_ordinary_text_stays_as_it_is() -> None:
    for text in ("s3://photos/Zürich/日本/a@b:c.jpg", "found 5 > 4; signature of a mask: soft"):
        assert escape_unprintable(redact(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://user:s3cret@host/0", "redis://***@host/0"),
        ("rediss://:s3cret@host", "rediss://***@host"),
        ("https://token@host/x.onnx", "https://***@host/x.onnx"),
        (
            "404 for url: https://b.s3/x.onnx?X-Amz-Credential=AK%2F1&X-Amz-Signature=0a&id=7",
            "404 for url: https://b.s3/x.onnx?X-Amz-Credential=***&X-Amz-Signature=***&id=7",
        ),
        ("https://b.s3/x?AWSAccessKeyId=AKIA&Signature=a%2Bb&Expires=1", None),
        ("{'X-Amz-Security-Token': b'FwoG+s3cret/=='}", "{'X-Amz-Security-Token': ***'}"),
        ("x-amz-security-token:s3cret", None),
        ('"SecretAccessKey": "s3cret"', None),
        ("<SecretAccessKey>s3cret</SecretAccessKey>", None),
        ("b'AWS4-HMAC-SHA256 Credential=s3cret/2026/s3, Signature=s3cret'", None),
        ("Authorization: Bearer s3cret", "Authorization: ***"),
        (f"Signature:\n{'0' * 64}", "Signature:\n***"),
        ("CUTWORK: password=s3cret", "CUTWORK: password=***"),
    ],
)
def test_credentials_are_removed(text: str, expected: str | None) -> None:
    clean = redact(text)
    assert "s3cret" not in clean
    assert "***" in clean
    if expected is not None:
        assert clean == expected


def test_secrets_of_the_environment_are_removed_anywhere(log: CapturedLog) -> None:
    quoted = "p%40ss%2Fw0rd%3Aof%3Fours"
    log.logger.warning("%s %s %s %s", SECRET, {"key": SECRET.encode()}, PASSWORD, quoted)
    assert log.text.getvalue() == "[WARNING] *** {'key': b'***'} *** ***\n"
    secrets = secrets_of({"CUTWORK_BROKER_URL": "redis://:[x"})
    assert {"redis%3A%2F%2F%3A%5Bx", "redis://:[x"} < {*secrets}


def test_refused_credentials_are_in_no_error_and_no_log(
    stack: LocalStack,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All that boto3 and urllib3 log about a real server that does not know the key."""
    for name, value in (stack.environment() | {"AWS_SECRET_ACCESS_KEY": SECRET}).items():
        monkeypatch.setenv(name, value)
    for name in ("botocore", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=name)
    with captured_log(monkeypatch) as log, pytest.raises(CredentialsRefused) as caught:
        open_storage(WorkerSettings.read(), connections=1).open(PLACE)
    written = log.text.getvalue()
    assert "SignatureDoesNotMatch" in written
    assert "Signature=***" in written
    for text in (written, str(caught.value)):
        assert SECRET not in text
        assert stack.environment()["AWS_ACCESS_KEY_ID"] not in text


def test_a_password_in_the_endpoint_is_in_no_finding_and_no_refusal_to_start(
    idle: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:s3cret@127.0.0.1:9")
    findings = examine(idle, read=["s3://photos"], write=[])
    finding = next(item for item in findings if item.what.startswith("S3")).to_json()
    assert not finding["ok"]
    assert "***@127.0.0.1:9" in finding["text"]
    assert "s3cret" not in str(finding)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:s3cret@")
    monkeypatch.setenv("CUTWORK_READ_FROM", "*")
    monkeypatch.setenv("CUTWORK_WRITE_TO", "*")
    with pytest.raises(SettingsError, match=r"http://\*\*\*@") as caught:
        open_storage(WorkerSettings.read(), connections=1)
    assert "s3cret" not in str(caught.value)
