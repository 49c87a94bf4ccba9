"""The output of the commands about a run, during the run and at its end."""

import json

import pytest

from producer.cli.run_view import BarView, JsonView, RunView, progress_texts, summary_lines
from producer.console.humanize import countdown
from producer.contract.run import RunRecord
from producer.sync.follow import RunProgress
from tests.support.run_records import counts, failure, record

RUNNING = record(
    state="running",
    finished_at=None,
    counts=counts(done=200, failed=1, skipped=0, sent=1200),
    total=2000,
    codes={"corrupt_image": 1, "name_conflict": 1},
)


def progress(of: RunRecord, *, remaining: float | None = 61) -> RunProgress:
    return RunProgress(of, [failure("[red]a.jpg")], 12.34, 5.6, remaining)


def test_the_progress_as_text() -> None:
    assert progress_texts(progress(RUNNING)) == [
        "200 of 2,000 done",
        "1 failed",
        "1 conflicting",
        "12.3 images/s",
        "5.6 MP/s",
        "1 min 01 s left",
    ]
    assert "left" not in progress_texts(progress(RUNNING, remaining=None))[-1]


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (22.4, "22 s"), (59.7, "1 min"), (8000, "2 h 13 min")]
)
def test_time_left_is_in_whole_seconds(seconds: float, text: str) -> None:
    assert countdown(seconds) == text


def test_the_summary_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    first, failed, conflicting, then = summary_lines(RUNNING)
    assert first == (
        f"run {RUNNING.id} not finished: 200 done, 0 skipped, 1 failed, 999 in flight; "
        f"{RUNNING.counts.seen:,} seen, of which 38,122 up to date, 5 excluded, "
        "4 known to be unreadable (--retry-failed retries them), 1 conflicting"
    )
    assert failed == "failed: 1 corrupt_image"
    assert conflicting == "conflicting: 1 name_conflict"
    assert then == f"run the command again to resume, or stop the run: cutwork cancel {RUNNING.id}"


def test_a_failure_is_a_line_in_which_the_key_is_not_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with RunView() as view:
        view.progress(progress(RUNNING))
    out = capsys.readouterr().out
    assert out == "corrupt_image s3://photos/[red]a.jpg: found no end\n"


def test_every_line_of_the_json_view_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonView() as view:
        view.notice("waiting")
        view.progress(progress(RUNNING))
        view.end(RUNNING.model_copy(update={"state": "finished"}))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [line["event"] for line in lines]
    assert kinds == ["note", "failure", "progress", "end"]
    assert lines[2]["counts"]["in_flight"] == 999
    assert lines[2]["remaining_seconds"] == 61


def test_the_bar_view_prints_failures_and_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with BarView() as bar:
        bar.planned(counts())
        bar.progress(progress(RUNNING))
    out = capsys.readouterr().out
    assert "corrupt_image s3://photos/[red]a.jpg" in out
    assert "200 of 2,000 done · 1 failed · 1 conflicting · 12.3 images/s" in out
