"""Doubtful steps are decided by ETags, in the order of the plan."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from producer.contract.s3_prefix import S3Prefix
from producer.contract.s3_uri import ImageRef
from producer.sync.listing.objects import ListingFailed
from producer.sync.listing.page import Entry
from producer.sync.plan.check_sources import check_sources, source_reader
from producer.sync.plan.existing_outputs import ExistingOutputs
from producer.sync.plan.planner import Output, Planner
from producer.sync.plan.step import Step
from tests.unit.test_plan import SOURCE, chosen, naming, time


def step(number: int, *, doubtful: bool = True, verdict: str = "current") -> Step:
    return Step(
        f"{number:05}",
        verdict,  # type: ignore[arg-type]
        "newer" if verdict == "current" else "older",
        source=ImageRef(bucket="photos", key=f"{number}"),
        etag=f"e{number}",
        image=ImageRef(bucket="cutouts", key=f"{number}"),
        is_doubtful=doubtful,
    )


@pytest.mark.parametrize("verdict", ["current", "send"])
@pytest.mark.parametrize(
    ("found", "expected"),
    [("e1", ("current", "newer")), ("e2", ("send", "replaced")), (None, None)],
)
def test_the_etag_decides(
    verdict: str, found: str | None, expected: tuple[str, str] | None
) -> None:
    doubtful = step(1, verdict=verdict)
    (decided,) = check_sources([doubtful], lambda _: found)
    assert (decided.verdict, decided.reason) == (expected or (doubtful.verdict, doubtful.reason))


def test_the_order_stays_and_only_doubtful_steps_cost_a_request() -> None:
    steps = [step(number, doubtful=number % 3 == 0) for number in range(3000)]
    asked: list[str] = []

    def read(ref: ImageRef) -> str:
        asked.append(ref.key)
        return "other"

    decided = list(check_sources(steps, read))
    assert [one.cursor for one in decided] == [one.cursor for one in steps]
    assert len(asked) == 1000
    assert [one.reason for one in decided[:4]] == ["replaced", "newer", "newer", "replaced"]


def test_a_failed_request_ends_the_plan_at_its_step() -> None:
    def read(ref: ImageRef) -> str:
        raise ListingFailed(str(ref))

    steps = check_sources([step(1, doubtful=False), step(2)], read)
    assert next(steps).cursor == "00001"
    with pytest.raises(ListingFailed, match="s3://cutouts/2"):
        next(steps)


def plan(entries: list[Entry], *, written: dict[str, str], checks: bool = False) -> Iterator[Step]:
    existing = ExistingOutputs(
        iter([Entry(key, 1, time, "o") for key, time in sorted(written.items())]),
        after="",
        find_object=lambda _: None,
    )
    output = Output(naming(S3Prefix("images"), "{parent}{stem}.{ext}", "png"), existing)
    planner = Planner(
        bucket=SOURCE.bucket,
        selection=chosen(outputs=[]),
        image=output,
        mask=None,
        resend=None,
        cursor="",
        list_earlier=lambda _: [],
        has_unique_names=False,
        reserved=(),
        checks_sources=checks,
        now=time(1000),
    )
    return planner.plan(entries)


def test_a_source_dated_in_the_future_is_doubtful() -> None:
    entries = [Entry("in/a.jpg", 1, time(2000), "e"), Entry("in/b.jpg", 1, time(900), "e")]
    written = {"a.png": time(999), "b.png": time(10)}
    steps = list(plan(entries, written=written))
    assert [(one.verdict, one.reason, one.is_doubtful) for one in steps] == [
        ("send", "older", True),
        ("send", "older", False),
    ]


def test_every_current_output_is_doubtful_on_request() -> None:
    entries = [Entry("in/a.jpg", 1, time(1), "e"), Entry("in/b.jpg", 1, time(1), "e")]
    (found, missing) = plan(entries, written={"a.png": time(999)}, checks=True)
    assert (found.verdict, found.is_doubtful) == ("current", True)
    assert (missing.verdict, missing.is_doubtful) == ("send", False)


def test_an_archived_source_is_left_out_unless_it_is_processed() -> None:
    entries = [Entry(f"in/{name}.jpg", 1, time(5), "e", name != "c") for name in "abc"]
    steps = list(plan(entries, written={"a.png": time(999)}, checks=True))
    assert [one.verdict for one in steps] == ["current", "archived", "send"]


def test_a_listing_without_etags_decides_nothing() -> None:
    (decided,) = check_sources([step(1)._replace(etag="")], lambda _: "e1")
    assert (decided.verdict, decided.reason) == ("current", "newer")


def refusing(status: int) -> Any:
    s3 = boto3.client("s3", region_name="eu-west-1")
    stubber = Stubber(s3)
    stubber.add_client_error("head_object", service_error_code=str(status))
    stubber.activate()
    return s3


@pytest.mark.parametrize("is_required", [True, False])
def test_outputs_that_must_not_be_read_are_an_error_if_they_were_to_be_checked(
    monkeypatch: pytest.MonkeyPatch, is_required: bool
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    output = ImageRef(bucket="cutouts", key="a.png")
    assert source_reader(refusing(404), is_required=is_required)(output) is None
    read = source_reader(refusing(403), is_required=is_required)
    if not is_required:
        assert read(output) is None
        return
    with pytest.raises(ListingFailed, match=r"s3://cutouts/a.png: .*403.*s3:GetObject"):
        read(output)
