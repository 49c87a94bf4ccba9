"""A run ends after a few jobs if its options are such that every job fails."""

import pytest

from producer.contract.model_names import MODEL_NAMES, MODEL_SUFFIXES
from producer.sync.options_check import refusal_by_name
from producer.sync.trial import TRIAL_JOBS, is_over, jobs_left, shared_failure
from tests.support.run_records import counts, record
from worker.models.files.catalogue import catalogue
from worker.models.files.store import SUFFIXES


def test_the_names_are_those_of_the_catalogue() -> None:
    assert tuple(catalogue()) == MODEL_NAMES
    assert set(MODEL_SUFFIXES) == set(SUFFIXES)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("u2nettp", "did you mean u2netp?"),
        ("", "expected one of isnet-general-use"),
        ("../../etc/passwd", "expected one of isnet-general-use"),
        ("s3://models/x.zip", "expected a file ending in .onnx"),
    ],
)
def test_an_unknown_name_is_refused(model: str, sentence: str) -> None:
    refusal = refusal_by_name(model)
    assert refusal is not None
    assert sentence in refusal.message


@pytest.mark.parametrize("model", [*MODEL_NAMES, "s3://models/x.ONNX", "s3://models/a/b.pth"])
def test_a_model_that_a_worker_may_have_is_not_refused(model: str) -> None:
    assert refusal_by_name(model) is None


@pytest.mark.parametrize(
    ("codes", "done", "over", "shared"),
    [
        ({}, 0, False, None),
        ({"unknown_model": 2}, 0, False, None),
        ({"unknown_model": 3}, 0, False, "unknown_model"),
        ({"licence_not_accepted": 3, "name_conflict": 7}, 0, False, "licence_not_accepted"),
        ({"option_conflict": 3}, 1, True, None),
        ({"model_invalid": 3, "corrupt_image": 1}, 0, True, None),
        ({"source_not_found": 20}, 0, True, None),
        ({"forbidden": 3}, 0, False, None),
        ({"forbidden": TRIAL_JOBS}, 0, False, "forbidden"),
        ({"gpu_unavailable": 3}, 0, False, None),
        ({"gpu_no_driver": TRIAL_JOBS}, 0, False, "gpu_no_driver"),
        ({"forbidden": TRIAL_JOBS - 2, "unknown_model": 2}, 0, False, "forbidden"),
        ({"forbidden": 1, "unknown_model": 3}, 0, False, "unknown_model"),
    ],
)
def test_the_outcomes_that_decide(
    codes: dict[str, int], done: int, over: bool, shared: str | None
) -> None:
    failed = sum(n for code, n in codes.items() if not code.startswith("name_"))
    run = record(counts=counts(done=done, failed=failed, skipped=0, sent=20), codes=codes)
    assert (is_over(run), shared_failure(run)) == (over, shared)


@pytest.mark.parametrize(("sent", "cancelled", "left"), [(0, 0, 20), (20, 0, 0), (20, 20, 20)])
def test_jobs_that_were_cancelled_show_nothing_and_make_room(
    sent: int, cancelled: int, left: int
) -> None:
    run = record(counts=counts(done=0, failed=0, skipped=0, sent=sent, cancelled=cancelled))
    assert not is_over(run)
    assert jobs_left(run, 20) == left
