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


def test_every_field_of_a_line_is_bounded(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, text = written
    huge = "x" * 3_000_000
    with log_context({"job_id": "1", "source": huge}):
        try:
            raise ValueError(f"found {huge}; rename it")
        except ValueError:
            facts = {"code": huge, "seconds": {huge: 0.5}, "names": [huge] * 3, "attempt": 1}
            logger.exception("job: %s; rename it", huge, stack_info=True, extra=facts)
    logger.warning("\ud800 %s", "\ud800", extra={"code": "\ud800"})
    first, second = map(json.loads, text.getvalue().splitlines())
    assert len(text.getvalue()) < 100_000
    assert first["message"].endswith("; rename it")
    for name in ("message", "source", "code", "seconds", "names", "exc_info"):
        assert "characters left out) …" in first[name]
    assert first["exc_info"].startswith("Traceback")
    assert first["exc_info"].endswith("; rename it")
    assert (first["attempt"], first["job_id"]) == (1, "1")
    assert (second["message"], second["code"]) == (r"\ud800 \ud800", r"\ud800")


def test_fields_that_fit_keep_their_type(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, text = written
    seconds = {"load": 0.25, "total": 1.5}
    logger.info("done", extra={"seconds": seconds, "ok": True, "code": None})
    line = json.loads(text.getvalue())
    assert (line["seconds"], line["ok"], line["code"]) == (seconds, True, None)
