"""Plans of real listings: complete, resumed at any cursor, and forced."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from deploy.local import LocalStack
from producer.contract.run import RunSpec
from producer.sync.listing.objects import listing_client
from producer.sync.plan.listing_plan import listing_plan
from producer.sync.plan.step import Step

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@pytest.fixture(scope="module")
def s3(stack: LocalStack) -> Iterator["S3Client"]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment().items():
            patch.setenv(name, value)
        client = listing_client()
    plain = stack.s3()
    plain.create_bucket(Bucket="planned")
    first = ["in/b.jpg", "in/b.k.jpg", "in/b.png", "in/old/c.jpg", "in/old-2/d.jpg", "in/e.txt"]
    second = ["in/out/b.k.png", "in/out/b.png", "in/out/old/c.png", "in/new.jpg"]
    with ThreadPoolExecutor(8) as pool:
        for keys in (first, second):
            list(pool.map(lambda key: plain.put_object(Bucket="planned", Key=key), keys))
    yield client
    client.close()


SPEC = RunSpec(source="s3://planned/in", image="s3://planned/in/out", exclude=("*.txt",))


def short(step: Step) -> tuple[str, str]:
    return step.cursor, f"{step.verdict} {step.reason}"


WHOLE = [
    ("in/b.jpg", "current newer"),
    ("in/b.k.jpg", "current newer"),
    ("in/b.png", "conflicting name_conflict"),
    ("in/e.txt", "excluded filtered"),
    ("in/new.jpg", "send missing"),
    ("in/old-2/d.jpg", "send missing"),
    ("in/old/c.jpg", "current newer"),
    ("in/out/b.k.png", "excluded output"),
    ("in/out/b.png", "excluded output"),
    ("in/out/old/c.png", "excluded output"),
]


def test_a_plan_of_real_listings(s3: "S3Client") -> None:
    steps = list(listing_plan(SPEC, s3)(""))
    assert [short(step) for step in steps] == WHOLE
    assert str(steps[4].image) == "s3://planned/in/out/new.png"
    assert "'in/b.jpg' has the same output" in steps[2].message


@pytest.mark.parametrize("position", range(len(WHOLE)))
def test_a_plan_can_be_resumed_at_any_cursor(s3: "S3Client", position: int) -> None:
    steps = listing_plan(SPEC, s3)(WHOLE[position][0])
    assert [short(step) for step in steps] == WHOLE[position + 1 :]


@pytest.mark.parametrize("reason", ["forced", "changed_options"])
def test_forced_runs_send_everything_again(s3: "S3Client", reason: str) -> None:
    spec = SPEC.model_copy(update={"force" if reason == "forced" else reason: True})
    counts = Counter(short(step)[1] for step in listing_plan(spec, s3)(""))
    assert counts == {
        f"send {reason}": 5,
        "conflicting name_conflict": 1,
        "excluded filtered": 1,
        "excluded output": 3,
    }
