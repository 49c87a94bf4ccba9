"""The schemas in `docs/reference/` accept the same messages as a worker."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from producer.contract.errors import InvalidJob
from producer.contract.job import Job
from producer.contract.outcome import Outcome
from worker import errors
from worker.models.files.catalogue import catalogue

GOLDEN = Path(__file__).parents[1] / "golden"
REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PROTOCOL = (REFERENCE / "protocol.md").read_text()
LEAST = {"version": 1, "id": "a1", "source": "s3://photos/a.jpg", "image": "s3://cutouts/a.png"}


def errors_in(name: str, message: object) -> list[str]:
    schema = json.loads((REFERENCE / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return [error.message for error in Draft202012Validator(schema).iter_errors(message)]


@pytest.mark.parametrize("name", ["job", "outcome"])
def test_a_golden_message_is_valid(name: str) -> None:
    assert errors_in(name, json.loads((GOLDEN / f"{name}-v1.json").read_text())) == []


def test_the_minimal_job_is_valid_for_both() -> None:
    assert errors_in("job", LEAST) == []
    assert Job.from_message(LEAST).to_message().items() >= LEAST.items()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"id": "a b"},
        {"source": "photos/a.jpg"},
        {"source": "s3://pho+tos/a.jpg"},
        {"image": None},
        {"callback": "https://example.org"},
        {"tenant": "Shop"},
        {"options": {"threshold": 1.5}},
        {"options": {"size": 10_000}},
        {"options": {"mean": [0.5, 0.5]}},
        {"options": {"alpha_matting_erode_size": 256}},
        {"options": {"alpha_matting_erode_size": "25.1%"}},
        {"options": {"speed": "fast"}},
    ],
)
def test_schema_and_worker_refuse_the_same_jobs(change: dict[str, Any]) -> None:
    assert errors_in("job", LEAST | change)
    with pytest.raises(InvalidJob):
        Job.from_message(LEAST | change)


@pytest.mark.parametrize("erosion", [0, 255, "0%", "1%", "24.999%", "25.000%"])
def test_schema_and_worker_accept_erosion_in_pixels_and_in_per_cent(erosion: int | str) -> None:
    message = LEAST | {"options": {"alpha_matting_erode_size": erosion}}
    assert errors_in("job", message) == []
    assert Job.from_message(message).to_message()["options"] == message["options"]


def test_unknown_fields_of_an_outcome_are_allowed() -> None:
    outcome = {"version": 1, "job_id": "a1", "state": "done", "tokens": 5}
    assert errors_in("outcome", outcome) == []
    assert Outcome.model_validate(outcome).ok


def test_the_examples_of_the_page_are_valid() -> None:
    job, message, outcome = map(json.loads, re.findall(r"```json\n(.*?)```", PROTOCOL, re.DOTALL))
    assert errors_in("job", job) == []
    assert errors_in("outcome", outcome) == []
    assert message["headers"]["id"] == job["id"] == outcome["job_id"]


def test_the_codes_and_models_on_the_page_exist() -> None:
    codes = {item.code for item in vars(errors).values() if hasattr(item, "code")}
    named = set(re.findall(r"^\| `([a-z_]+)` \|", PROTOCOL, flags=re.MULTILINE))
    assert named <= codes | set(Job.model_fields) | set(Outcome.model_fields)
    assert (
        json.loads(re.findall(r"```json\n(.*?)```", PROTOCOL, re.DOTALL)[0])["options"]["model"]
        in catalogue()
    )
