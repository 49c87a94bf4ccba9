"""The contract: which messages are read, which are refused, and with which sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from producer.contract.errors import InvalidJob
from producer.contract.job import Job
from producer.contract.options import Options
from producer.contract.outcome import Outcome
from producer.contract.s3_uri import ImageRef
from producer.contract.validation_errors import hide_password

GOLDEN = Path(__file__).parents[1] / "golden"
URIS = {"source": "s3://photos/a.jpg", "image": "s3://cutouts/a.png"}


def golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


def test_a_golden_job_survives_a_round_trip() -> None:
    message = golden("job-v1.json")
    job = Job.from_message(message)
    assert job.source == ImageRef(bucket="photos", key="2026/a b%20é.jpg")
    assert job.options.mean == (0.485, 0.456, 0.406)
    assert job.options.size == (320, 640)
    assert job.to_message() == message


def test_a_golden_outcome_survives_a_round_trip() -> None:
    message = golden("outcome-v1.json")
    assert Outcome.model_validate(message).to_message() == message


def test_the_golden_job_sets_no_option_to_its_default() -> None:
    assert set(golden("job-v1.json")["options"]) == set(Options.model_fields)
    assert golden("job-v1.json") == Job.from_message(golden("job-v1.json")).to_message()


def test_a_message_leaves_defaults_out() -> None:
    job = Job.model_validate(URIS)
    assert "options" not in job.to_message()
    assert Job.from_message(json.loads(json.dumps(job.to_message()))) == job


def test_keys_are_opaque() -> None:
    for key in ("a//b", "../a", "a%2Fb", "é", "é", "a b\n", "<script>"):
        ref = ImageRef.parse(f"s3://photos/{key}")
        assert (ref.key, str(ref)) == (key, f"s3://photos/{key}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("photos/a.jpg", "expected s3://bucket/key"),
        ("https://photos/a.jpg", "expected s3://bucket/key"),
        ("s3://photos", "expected s3://bucket/key"),
        ("s3://photos/", "expected s3://bucket/key"),
        ("s3:///a.jpg", "expected s3://bucket/key"),
        (
            "s3://pho+tos/a.jpg",
            "the ARN of an access point, found 'pho+tos'",
        ),
        ("s3://../a.jpg", "of an access point, found '..'"),
        ("s3://photos/" + "é" * 513, "the key has 1026 bytes, S3 allows 1 to 1024"),
        ("s3://photos/\ud800", "the key is not valid Unicode"),
    ],
)
def test_an_invalid_uri_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InvalidJob, match=r"^source") as caught:
        Job.from_message({**URIS, "source": text})
    assert sentence in str(caught.value)
    assert "found" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"threshold": 1.5},
            "options.threshold: input should be less than or equal to 1, found 1.5",
        ),
        ({"threshold": float("nan")}, "options.threshold: input should be a finite number"),
        ({"std": 0}, "options.std: expected numbers greater than 0, at least 1e-06, found 0"),
        (
            {"std": [1, 0, 1]},
            "greater than 0, at least 1e-06, found [1, 0, 1]",
        ),
        ({"size": 8}, "options.size: input should be greater than or equal to 32"),
        ({"size": 100_000}, "options.size: input should be less than or equal to 4096"),
        ({"mean": [1, 2]}, "options.mean"),
        ({"device_mode": "tpu"}, "options.device_mode: input should be 'auto', 'prefer_gpu'"),
        ({"image_format": "psd"}, "options.image_format: input should be 'png', 'webp', "),
        ({"treshold": 0.5}, "options.treshold: extra inputs are not permitted, found 0.5"),
        ({"model_sha256": "abc"}, "options.model_sha256: string should match pattern"),
        ({"background": "white"}, "options.background: expected #rrggbb or #rrggbbaa"),
        ({"margin": "-3"}, "options.margin: expected pixels, such as 20"),
        ({"image_format": "jpeg"}, "options: image_format: jpeg has no transparency"),
        (
            {"image_format": "jpeg", "background": "#ffffff80"},
            "expected an opaque background such as #ffffff, found #ffffff80",
        ),
        ({"bit_depth": 16, "mask_format": "webp"}, "bit_depth: expected mask_format png or tiff"),
        (
            {"alpha_matting_foreground_threshold": 20, "alpha_matting_background_threshold": 240},
            "expected at least alpha_matting_background_threshold, found 20 and",
        ),
        ({"bit_depth": 12}, "options.bit_depth: input should be 8 or 16"),
        ({"alpha_matting_erode_size": -1}, "alpha_matting_erode_size: input should be greater"),
        ({"alpha_matting_erode_size": 256}, "alpha_matting_erode_size: input should be less"),
        ({"alpha_matting_erode_size": "26%"}, "expected a percentage from 0% to 25%, such as 1%"),
        ({"alpha_matting_erode_size": "1 %"}, "found '1 %'"),
        ({"model": ""}, "options.model: string should have at least 1 character"),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        Job.from_message({**URIS, "options": options})
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (None, "found None"),
        ([], "found []"),
        ("job", "found 'job'"),
        ({}, "source: field required"),
        ({"source": URIS["source"]}, "expected a destination: image, mask, or both"),
        ({**URIS, "mask": URIS["image"]}, "must be three different objects"),
        ({**URIS, "image": URIS["source"]}, "must be three different objects"),
        ({**URIS, "version": 2}, "version: expected 1, found 2"),
        ({**URIS, "id": "a b"}, "id: string should match pattern"),
        ({**URIS, "id": "x" * 10_000}, "id: string should match pattern"),
        ({**URIS, "extra": 1}, "extra: extra inputs are not permitted"),
    ],
)
def test_a_message_without_a_job_is_refused(message: object, sentence: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        Job.from_message(message)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 600


def test_bucket_and_key_are_validated_like_a_uri() -> None:
    for source in ({"bucket": "Bad/../x", "key": "a"}, {"bucket": "photos", "key": "\ud800"}):
        with pytest.raises(InvalidJob, match=r"^source\.(bucket|key): "):
            Job.from_message({**URIS, "source": source})


def test_a_newer_worker_s_outcome_is_read() -> None:
    message = golden("outcome-v1.json")
    newer = {**message, "new": 1, "source": {**message["source"], "new": 2}}
    assert Outcome.model_validate(newer) == Outcome.model_validate(message)


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(InvalidJob) as caught:
        Job.from_message({"source": "x", "options": {"threshold": 2, "std": -1}})
    text = str(caught.value)
    assert all(name in text for name in ("source", "options.threshold", "options.std"))


@pytest.mark.parametrize(
    "value", ["/" * 400_000, "//a@" * 100_000, "x" * 400_000, ["//"] * 100_000]
)
def test_a_long_value_is_refused_in_a_short_sentence_and_linear_time(value: object) -> None:
    """Quadratic time would be minutes."""
    with pytest.raises(InvalidJob) as caught:
        Job.from_message({**URIS, "id": value})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("redis://user:pass@host/0", "redis://***@host/0"),
        ("a //b@c d//e:f@g@h", "a //***@c d//***@h"),
        ("a@b //c d@e", "a@b //c d@e"),
        ("//@x x//y", "//***@x x//y"),
        ("password=a&b", "password=***&b"),
    ],
)
def test_passwords_in_urls_are_hidden(text: str, hidden: str) -> None:
    assert hide_password(text) == hidden
