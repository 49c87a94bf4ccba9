"""The report of a run: its files, counts and charts, without pictures."""

import json
import re
import sys
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from producer.console.humanize import (
    duration,
    escape_controls,
    percentage,
    quantity,
    shorten_middle,
    three_digits,
)
from producer.contract.run import Failure, Minute, RunCounts, RunRecord, RunSpec
from producer.contract.s3_uri import ImageRef
from producer.report.run_chart import MAX_BARS, round_top, throughput
from producer.report.run_figures import figures, input_states, stage_means
from producer.report.run_report import write_run_report
from producer.report.run_summary import run_facts
from tests.support.run_records import HOSTILE, START, counts, failure, outcome, record

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def no_s3() -> "S3Client":
    raise AssertionError("expected no use of S3")


def no_warning(sentence: str) -> None:
    raise AssertionError(sentence)


def page_of(run: RunRecord, folder: Path) -> str:
    """Write the report of a record without pictures; return the page's HTML."""
    written = write_run_report(run, str(folder), s3=no_s3, warn=no_warning)
    assert [Path(path).name for path in written] == ["report.json", "failures.jsonl", "report.html"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(Path(p).name for p in written)
    return (folder / "report.html").read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """Return the visible text of a page on one line."""
    body = page.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.mark.parametrize(
    ("state", "run_counts"),
    [
        ("finished", counts()),
        ("finished", RunCounts()),
        ("running", counts(done=300, sent=1_000)),
        ("running", counts().model_copy(update={"seen": 50_000})),
        ("cancelled", counts(done=300, cancelled=690, sent=1_000)),
    ],
)
def test_the_counts_add_up_on_the_page(tmp_path: Path, state: str, run_counts: RunCounts) -> None:
    page = page_of(record(state=state, counts=run_counts), tmp_path)
    assert state.capitalize() in text_of(page)
    for name, whole in (("seen-sum", run_counts.seen), ("sent-sum", run_counts.sent)):
        line = re.search(rf'<p id="{name}">(.*?)</p>', page)
        assert line
        left, right = text_of("<body>" + line[1]).split("=")
        numbers = [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", right)]
        assert int(left.replace(",", "").split()[0]) == whole == sum(numbers)
    assert sum(state.number for state in input_states(run_counts)) == run_counts.seen


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    empty = record(counts=RunCounts(), minutes=(), codes={}, seconds={}, pixels=0, workers={})
    text = text_of(page_of(empty, tmp_path))
    assert "0 inputs seen" in text
    assert "No inputs." in text
    assert "Throughput" not in text
    assert "Failures" not in text
    assert (tmp_path / "failures.jsonl").read_text() == ""


def test_a_run_that_has_just_begun_has_no_rates(tmp_path: Path) -> None:
    young = record(state="running", finished_at=None, taken_at=START, minutes=())
    rates = figures(young)
    assert (rates.images_per_second, rates.megapixels_per_second) == (None, None)
    assert "Running" in text_of(page_of(young, tmp_path))


def test_report_json_is_the_record_and_its_figures(tmp_path: Path) -> None:
    whole = record(failures=[failure(key) for key in HOSTILE], sample=(), codes={"a\u2028b": 1})
    page_of(whole, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert RunRecord.model_validate(report) == whole
    assert report["figures"] == {
        "seconds": 5400,
        "pause_seconds": 1800,
        "images": 1210,
        "images_per_second": pytest.approx(1210 / 5400),
        "best_minute_images_per_second": 1.5,
        "megapixels_per_second": pytest.approx(2400 / 5400),
    }


def test_ten_thousand_failures_are_a_manifest_and_a_short_page(tmp_path: Path) -> None:
    keys = [f"folder/{number}-{HOSTILE[number % 5]}" for number in range(10_000)]
    failures = [
        failure(key).model_copy(
            update={"image": ImageRef(bucket="cutouts", key="a.png")} if number % 2 else {}
        )
        for number, key in enumerate(keys)
    ]
    many = record(
        counts=counts(failed=10_001),
        codes={"corrupt_image": 10_001},
        failures=failures,
        failures_left_out=1,
    )
    # A source with a name conflict is not listed: its output would overwrite another one's.
    many = many.model_copy(update={"failures": (*failures, failure("b.png", "name_conflict"))})
    page = page_of(many, tmp_path)
    lines = (tmp_path / "failures.jsonl").read_text().splitlines()
    assert [Failure.model_validate_json(line) for line in lines] == failures
    assert "image" not in json.loads(lines[0])
    assert "mask" not in json.loads(lines[1])
    assert page.count('<th scope="row"><bdi dir="ltr">folder/') == 0, "expected full names"
    assert page.count('<th scope="row"><bdi dir="ltr">s3://photos/folder/') == 100
    assert "The first 100 of 10,002, by source" in page
    assert "1 more are in failures.jsonl" in text_of(page)
    assert len(page) < 200_000


def test_untrusted_text_is_escaped(tmp_path: Path) -> None:
    spec = RunSpec(manifest=HOSTILE[0], include=HOSTILE[1:3], name=HOSTILE[2], limit=9)
    slow = [outcome(key) for key in HOSTILE] + [outcome("a").model_copy(update={"source": None})]
    page = page_of(
        record(
            spec=spec,
            workers={HOSTILE[1]: 3},
            codes={HOSTILE[0]: 1},
            failures=[failure(key, HOSTILE[0], HOSTILE[1]) for key in HOSTILE],
            slowest=slow,
        ),
        tmp_path,
    )
    assert "<script" not in page
    assert "onerror=alert(1)>" not in page
    for key in HOSTILE:
        assert escape_controls(key) in unescape(page)
    assert "7 * 7" in page
    assert "\u202e" not in page
    assert "--limit 9" in text_of(page)
    assert "job 1" in text_of(page)


@pytest.mark.parametrize("missing", ["jinja2", "PIL"])
def test_without_the_extra_a_sentence_replaces_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    warnings: list[str] = []
    written = write_run_report(record(), str(tmp_path), s3=no_s3, warn=warnings.append)
    assert [Path(path).name for path in written] == ["report.json", "failures.jsonl"]
    assert warnings == ["report.html was not written: install cutwork[report]"]


@pytest.mark.parametrize("span", [1, 5, 200, 201, 9_999, 500_000])
def test_a_long_run_has_few_bars_that_contain_every_image(span: int) -> None:
    at_work = [at for at in range(0, span, max(1, span // 3_000)) if not 0.4 < at / span < 0.6]
    minutes = [Minute(start=START + 60 * at, images=7, pixels=3_000_000) for at in at_work]
    chart = throughput(minutes)
    assert chart
    assert len(chart.bars) <= MAX_BARS
    assert sum(bar.images * bar.minutes for bar in chart.bars) == pytest.approx(7 * len(minutes))
    assert sum(bar.megapixels * bar.minutes for bar in chart.bars) == pytest.approx(
        3 * len(minutes)
    )
    if span > 100:
        longest = max(chart.gaps, key=lambda gap: gap.minutes)
        assert longest.minutes >= 0.19 * span
        inside = range(longest.start, longest.start + 60 * longest.minutes)
        assert not [
            bar
            for bar in chart.bars
            if bar.start in inside and bar.start + 60 * bar.minutes in inside
        ], "expected no bars in a gap"
    assert throughput([]) is None


def test_every_switch_of_a_run_is_shown() -> None:
    switches = [name for name, field in RunSpec.model_fields.items() if field.annotation is bool]
    spec = RunSpec.model_validate({"source": "s3://photos/"} | dict.fromkeys(switches, True))
    shown = dict(run_facts(record(spec=spec)))["Flags"]
    given = {name.replace("_", "-") for name in switches} - {"all-files"} | {"all"}
    assert {flag.removeprefix("--") for flag in shown} == given


def test_stages_are_means_over_the_done_images_and_the_rest_is_other() -> None:
    stages = stage_means(record())
    assert [stage.name for stage in stages] == ["fetch", "model", "other"]
    assert [stage.mean for stage in stages] == pytest.approx([0.2, 1.6, 0.2])
    assert sum(stage.share for stage in stages) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (duration(0.042), "42 ms"),
        (duration(59.97), "1 min"),
        (duration(303), "5 min 03 s"),
        (duration(3599.7), "1 h"),
        (duration(3900), "1 h 05 min"),
        (duration(86_370), "1 d"),
        (duration(97_200), "1 d 03 h"),
        (three_digits(12.345), "12.3"),
        (three_digits(9.996), "10.0"),
        (three_digits(99.96), "100"),
        (three_digits(1234.5), "1,234"),
        (quantity(999, "B"), "999 B"),
        (quantity(12_300_000, "P"), "12.3 MP"),
        (quantity(999_600, "B"), "1.00 MB"),
        (percentage(1, 1_000_000), "<0.1%"),
        (percentage(999_999, 1_000_000), "99.9%"),
        (percentage(0, 0), "0%"),
        (shorten_middle("abcdefghij", 5), "ab…ij"),
        (escape_controls("a\n\u202eb"), "a\\u000a\\u202eb"),
    ],
)
def test_numbers_and_texts_are_readable(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize("value", [0, 0.03, 1, 7, 10, 999, 1001, 123_456])
def test_an_axis_ends_above_what_it_shows(value: float) -> None:
    assert value <= round_top(value) <= max(2 * value, 1)
