"""The log as JSON objects."""

import io
import json
import logging

import pytest

from producer.observability.log_context import add_to_log_context, log_context
from producer.observability.log_format import install_line_formatter

FORGED = 'forged\n{"level": "INFO"}.jpg'


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> tuple[logging.Logger, io.StringIO]:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    text = io.StringIO()
    logger = logging.Logger("told")
    logger.addHandler(logging.StreamHandler(text))
    install_line_formatter(logger, form="json")
    return logger, text


def test_the_log_of_a_job_contains_no_credentials(
    written: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, text = written
    with log_context({"job_id": "1", "run_id": None}):
        add_to_log_context("source", f"s3://photos/{FORGED}?X-Amz-Signature=0a1b")
        try:
            raise ValueError("wJalrXUtnFEMI\nis the key")
        except ValueError:
            logger.exception("wJalrXUtnFEMI %s", FORGED, extra={"code": "http://u:pass@s3"})
    add_to_log_context("source", "nobody's")
    logger.info("after %d", "no number")
    first, second = map(json.loads, text.getvalue().splitlines())
    assert first["message"] == r"*** forged\n{"[:-1] + '{"level": "INFO"}.jpg'
    assert first["source"] == f"s3://photos/{FORGED}?X-Amz-Signature=***"
    assert (first["job_id"], first["code"]) == ("1", "http://***@s3")
    assert "ValueError: ***\nis the key" in first["exc_info"]
    assert not {"job_id", "source", "run_id"} & second.keys()
    assert second["message"].startswith("'after %d'")
