"""The circuit breaker of a feeder, by the counts of a run."""

from producer.contract.run import RunCounts, RunRecord, RunSpec
from producer.sync.circuit_breaker import CircuitBreaker


def record(*, done: int = 0, **codes: int) -> RunRecord:
    return RunRecord(
        id="20261122-000000-abcdef",
        state="running",
        spec=RunSpec(source="s3://photos/in/"),
        created_at=0,
        counts=RunCounts(done=done, failed=sum(codes.values())),
        codes=codes,
    )


def updated(breaker: CircuitBreaker, record: RunRecord) -> tuple[bool, str | None]:
    return breaker.update(record), breaker.code


def test_twenty_failures_in_a_row_open_it() -> None:
    breaker = CircuitBreaker()
    assert updated(breaker, record(done=5, access_denied=3)) == (False, None)
    assert updated(breaker, record(done=5, access_denied=22)) == (False, None)
    opened = record(done=5, access_denied=22, forbidden=1)
    assert updated(breaker, opened) == (True, "access_denied")
    assert updated(breaker, opened) == (False, "access_denied")
    assert updated(breaker, record(done=5, access_denied=22, forbidden=24)) == (True, "forbidden")


def test_any_other_outcome_closes_it() -> None:
    breaker = CircuitBreaker()
    breaker.update(record())
    assert updated(breaker, record(access_denied=20)) == (True, "access_denied")
    assert updated(breaker, record(done=1, access_denied=20)) == (False, None)
    assert updated(breaker, record(done=1, access_denied=40)) == (True, "access_denied")
    assert updated(breaker, record(done=1, access_denied=40, not_an_image=1)) == (False, None)


def test_failures_of_single_images_never_open_it() -> None:
    breaker = CircuitBreaker()
    breaker.update(record())
    assert updated(breaker, record(not_an_image=50, source_not_found=50)) == (False, None)
