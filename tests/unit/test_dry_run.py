"""The summary of a dry run: counts, examples and the time estimate."""

from collections.abc import Iterator, Mapping

import pytest

from producer.contract.options import Options
from producer.contract.run import RunCounts, RunRecord, RunSpec, RunState
from producer.sync.plan.dry_run import (
    Estimate,
    NoEstimate,
    dry_run,
    estimate,
    input_json,
    summary_lines,
)
from producer.sync.plan.step import Step
from tests.support.runs import SPEC, plan_of


def find_none(_: Mapping[str, str]) -> set[str]:
    return set()


def record(
    number: int, *, done: int = 100, state: RunState = "finished", resumed: int = 0, **options: str
) -> RunRecord:
    return RunRecord(
        id=f"20261122-00000{number}-abcdef",
        state=state,
        spec=RunSpec(source="s3://photos/in/", options=Options.model_validate(options)),
        created_at=1000,
        finished_at=1050 if state == "finished" else None,
        resumed=resumed,
        counts=RunCounts(seen=done, sent=done, done=done),
        workers={"a": 1, "b": 1},
    )


def test_every_step_is_counted_and_only_examples_are_kept() -> None:
    verdicts = ["send", "current", "excluded", "conflicting"] + ["send"] * 3000
    result = dry_run(plan_of(*verdicts)(""), SPEC, find_unreadable=find_none)
    assert result.counts == {"send": 3001, "current": 1, "excluded": 1, "conflicting": 1}
    assert (result.seen, result.sent, result.bytes) == (3004, 3001, 300_100)
    assert [step.cursor for step in result.examples] == ["0", "4", "5", "6", "7"]
    assert result.to_json()["examples"][0]["image"] == "s3://cutouts/out/0.png"


def test_known_sources_are_not_sent() -> None:
    def find_unreadable(sources: Mapping[str, str]) -> set[str]:
        assert sources == {f"s3://photos/in/{n}.jpg": f"etag{n}" for n in (0, 2)}
        return {"s3://photos/in/2.jpg"}

    plan = plan_of("send", "current", "send")
    result = dry_run(plan(""), SPEC, find_unreadable=find_unreadable)
    assert result.counts == {"send": 1, "current": 1, "known": 1}
    for option in ("force", "retry_failed"):
        spec = SPEC.model_copy(update={option: True})
        result = dry_run(plan(""), spec, find_unreadable=find_unreadable)
        assert result.counts == {"send": 2, "current": 1}


def test_a_limit_ends_a_dry_run() -> None:
    spec = SPEC.model_copy(update={"limit": 7})
    result = dry_run(plan_of(*["send"] * 50)(""), spec, find_unreadable=find_none)
    assert (result.sent, result.seen) == (7, 7)


def test_the_bytes_of_a_manifest_are_unknown() -> None:
    def steps() -> Iterator[Step]:
        for step in plan_of("send")(""):
            yield step._replace(bytes=None)

    result = dry_run(steps(), SPEC, find_unreadable=find_none)
    assert result.to_json()["bytes"] is None
    assert dict(summary_lines(result, NoEstimate(0)))["would send"] == "1 of 1 inputs"


def test_the_estimate_is_based_on_the_latest_comparable_run() -> None:
    runs = [
        record(1, model="u2netp"),
        record(2, state="running"),
        record(3, resumed=1),
        record(4, done=3),
        record(5, done=200),
        record(6, done=400),
    ]
    guess = estimate(SPEC, 1000, runs=runs)
    assert guess == Estimate(250, 4, runs[4].id, 2)
    assert estimate(SPEC, 1000, runs=runs[:4]) == NoEstimate(3)
    assert estimate(SPEC, 1000, runs=runs[:1]) == NoEstimate(0)


@pytest.mark.parametrize(
    ("guess", "text"),
    [
        (Estimate(250, 4, "R", 2), "4 min 10 s, as run R did 4.00 images/s with 2 workers"),
        (NoEstimate(0), "unknown: no earlier run with this model to go by"),
        (
            NoEstimate(4),
            "unknown: of 4 earlier runs with these options none finished without a pause and with "
            "10 images or more",
        ),
    ],
)
def test_the_lines_of_a_summary(guess: Estimate | NoEstimate, text: str) -> None:
    result = dry_run(plan_of("send", "send", "current")(""), SPEC, find_unreadable=find_none)
    assert summary_lines(result, guess) == [
        ("would send", "2 of 3 inputs (200 B)"),
        ("because", "2 missing"),
        ("and leave", "1 up to date"),
        ("first", "s3://photos/in/0.jpg → s3://cutouts/out/0.png"),
        ("", "s3://photos/in/1.jpg → s3://cutouts/out/1.png"),
        ("estimated", text),
    ]


def test_a_dry_run_names_every_conflict_and_shows_every_input() -> None:
    shown: list[Step] = []
    steps = [
        step._replace(message=f"found number {step.cursor}") if step.verdict != "send" else step
        for step in plan_of("send", *["conflicting"] * 30)("")
    ]
    result = dry_run(steps, SPEC, find_unreadable=find_none, show=shown.append)
    lines = summary_lines(result, NoEstimate(0))
    assert ("conflicts", "name_conflict s3://photos/in/1.jpg: found number 1") in lines
    assert lines[-2] == ("", "and 10 more, which --json lists")
    assert len(shown) == 31
    assert input_json(shown[1], SPEC) == {
        "source": "s3://photos/in/1.jpg",
        "image": "s3://cutouts/out/1.png",
        "verdict": "conflicting",
        "reason": "name_conflict",
        "message": "found number 1",
    }
    left_out = Step("in/notes.txt", "excluded", "not_image")
    assert input_json(left_out, SPEC)["source"] == "s3://photos/in/notes.txt"
    access_point = "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/photos"
    spec = SPEC.model_copy(update={"source": f"{access_point}/in/"})
    assert input_json(left_out, spec)["source"] == f"{access_point}/in/notes.txt"
