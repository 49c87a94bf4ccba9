"""Every text of an outcome is bounded, where it is made and where it is read."""

import json
from typing import Any

import pytest

from producer.contract.outcome import LONGEST_LINE_BYTES, MAX_WARNINGS, Outcome
from producer.contract.run import Failure

LONG = "found " + "x" * 300_000 + "; rename it"
TEXTS = {
    "code": "c" * 5000,
    "message": LONG,
    "fingerprint": "f" * 5000,
    "worker": "w" * 5000,
    "warnings": [LONG, *["w" * 3000] * 499],
    "source": {"ref": "s3://photos/a.jpg", "etag": LONG, "format": LONG, "mode": LONG},
    "image": {"ref": "s3://cutouts/a.png", "etag": LONG, "bytes": 1},
    "run": dict.fromkeys(("model", "sha256", "engine", "provider", "device", "dtype"), LONG),
}


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


def test_an_outcome_is_bounded_where_it_is_made_and_where_it_is_read() -> None:
    message = {"job_id": "a", "state": "failed", **TEXTS}
    made = Outcome.model_validate(message)
    read = Outcome.model_validate_json(json.dumps(message))
    for outcome in (made, read):
        stored = outcome.to_message()
        assert max(len(text.encode()) for text in texts(stored)) <= LONGEST_LINE_BYTES
        assert len(json.dumps(stored)) < 80_000
        assert (outcome.message or "").endswith("; rename it")
        assert len(outcome.warnings) == MAX_WARNINGS
        assert outcome.warnings[-1] == "481 more warnings were left out"
        # Reading a bounded outcome changes nothing.
        assert Outcome.model_validate_json(json.dumps(stored)) == outcome


def test_a_failure_of_a_run_is_bounded() -> None:
    failure = Failure.model_validate({"source": "s3://photos/a", "code": LONG, "message": LONG})
    assert max(len(failure.code), len(failure.message)) <= LONGEST_LINE_BYTES


@pytest.mark.parametrize("message", ["a\nb", "\x1b[2K", "\ud800", "\u202egpj"])
def test_a_text_of_an_outcome_is_one_printable_line(message: str) -> None:
    outcome = Outcome(job_id="a", state="failed", message=message, warnings=(message,))
    assert outcome.warnings == (outcome.message,)
    assert (outcome.message or "").isprintable()
    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome


def test_warnings_that_are_a_text_are_refused() -> None:
    with pytest.raises(ValueError, match="warnings"):
        Outcome.model_validate({"job_id": "a", "state": "done", "warnings": "x" * 50})
