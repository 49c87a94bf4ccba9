"""A stored run whose fields no release wrote is refused, whatever they hold."""

import pytest

from producer.report.run_summary import run_facts
from producer.store.run_fields import build_minutes, build_record
from producer.store.unreadable_run import UnreadableRun, reading_run
from tests.support.runs import SPEC

RUN = "20261122-000000-bad000"
KNOWN = {"state": "running", "spec": SPEC.model_dump_json(), "created_at": "1"}
NUMBERS = [
    "1e300",
    "-1",
    "1e12",
    "inf",
    "-inf",
    "nan",
    "1e400",
    "9" * 5000,
    "9" * 40,
    "",
    "x",
    "\0",
]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("field", ["created_at", "finished_at"])
def test_a_time_out_of_range_is_refused(field: str, number: str) -> None:
    with pytest.raises(UnreadableRun, match=RUN), reading_run(RUN):
        build_record(RUN, KNOWN | {field: number})


@pytest.mark.parametrize("number", [number for number in NUMBERS if number != "1e12"])
@pytest.mark.parametrize(
    "field",
    [
        *("total", "resumed", "pixels", "source_bytes", "output_bytes", "count:done", "count:sent"),
        *("code:x", "suspicion:x", "worker:x", "seconds:total"),
    ],
)
def test_a_count_out_of_range_is_refused(field: str, number: str) -> None:
    with pytest.raises(UnreadableRun, match=RUN), reading_run(RUN):
        build_record(RUN, KNOWN | {field: number})


@pytest.mark.parametrize("start", ["9" * 40, "9" * 5000, "-60", "x", "", "1e9"])
def test_a_minute_out_of_range_is_refused(start: str) -> None:
    with pytest.raises(UnreadableRun, match=RUN), reading_run(RUN):
        build_minutes({f"{start}:images": "1", f"{start}:pixels": "1"})


@pytest.mark.parametrize("number", ["9" * 40, "-1", "x"])
def test_a_minute_with_an_odd_amount_is_refused(number: str) -> None:
    with pytest.raises(UnreadableRun, match=RUN), reading_run(RUN):
        build_minutes({"60:images": number, "60:pixels": "1"})


def test_the_latest_accepted_time_can_be_printed() -> None:
    record = build_record(RUN, KNOWN | {"created_at": "1e11", "finished_at": "1e11"})
    assert run_facts(record)
