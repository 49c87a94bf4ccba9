"""The client on a real broker without a worker: what it writes, and how it waits."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from deploy.local import LocalStack, free_ports
from producer import (
    BrokerUnavailable,
    Client,
    ClientClosed,
    InvalidJob,
    Options,
    Outcome,
    OutcomeTimeout,
)
from producer.contract.job import QUEUE
from producer.contract.outcome import UnreadableOutcome
from producer.store.ledger import Ledger
from tests.support.jobs import job_of
from tests.support.patience import PATIENCE


@pytest.fixture
def idle_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A separate broker without a worker."""
    with LocalStack(tmp_path_factory.mktemp("quiet")) as stack:
        stack.start_broker()
        yield stack


@pytest.fixture
def idle_client(idle_stack: LocalStack) -> Iterator[Client]:
    with idle_stack.client() as client:
        yield client


def done(job_id: str) -> Outcome:
    return Outcome(job_id=job_id, state="done")


def test_a_job_waits_in_the_queue_and_is_pending(
    idle_client: Client, idle_stack: LocalStack
) -> None:
    handle = idle_client.submit("s3://photos/a.jpg", image="s3://cutouts/a.png")
    status = idle_client.status()
    assert (status.waiting, status.in_flight) == (1, 0)
    assert status.oldest_waiting is not None
    assert 0 <= status.oldest_waiting < 30
    assert idle_client.pending() == 1
    assert handle.outcome() is None
    Ledger(idle_stack.broker_url).record_outcome(done(handle.id))
    assert idle_client.pending() == 0
    assert handle.outcome() == handle.wait(1)


def test_status_of_an_empty_queue(idle_client: Client) -> None:
    status = idle_client.status()
    assert (status.waiting, status.in_flight, status.oldest_waiting) == (0, 0, None)


def test_status_counts_messages_that_are_not_jobs(
    idle_client: Client, idle_stack: LocalStack
) -> None:
    with redis.Redis.from_url(idle_stack.broker_url) as server:
        server.lpush(f"{QUEUE}:9", "garbage", '{"body": "e30="}')
    assert idle_client.status().waiting == 2
    assert idle_client.status().oldest_waiting is None


def test_waiting_ends_in_time(idle_client: Client) -> None:
    handle = idle_client.submit("s3://photos/a.jpg", mask="s3://cutouts/a.png")
    with pytest.raises(OutcomeTimeout, match=rf"job {handle.id} has no outcome after 0.2 s"):
        handle.wait(0.2)


def test_an_outcome_wakes_every_waiter(idle_client: Client, idle_stack: LocalStack) -> None:
    handle = idle_client.submit("s3://photos/a.jpg", mask="s3://cutouts/a.png")
    outcomes: list[Outcome] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(handle.wait(PATIENCE))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    Ledger(idle_stack.broker_url).record_outcome(done(handle.id))
    for thread in threads:
        thread.join(PATIENCE)
    assert [outcome.job_id for outcome in outcomes] == [handle.id] * 5


def test_another_process_can_wait_for_a_job(idle_client: Client, idle_stack: LocalStack) -> None:
    handle = idle_client.submit("s3://photos/a.jpg", mask="s3://cutouts/a.png")
    Ledger(idle_stack.broker_url).record_outcome(done(handle.id))
    with idle_stack.client() as other:
        assert other.handle(handle.job).wait(PATIENCE).state == "done"


def test_waiting_does_not_block_the_loop(idle_client: Client, idle_stack: LocalStack) -> None:
    async def service() -> tuple[list[Outcome], int]:
        handles = [
            await idle_client.submit_async("s3://photos/a.jpg", image=f"s3://cutouts/{number}.png")
            for number in range(20)
        ]
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        def settle() -> None:
            while ticks < 10:
                time.sleep(0.01)
            ledger = Ledger(idle_stack.broker_url)
            for handle in handles:
                ledger.record_outcome(done(handle.id))

        ticking = asyncio.create_task(tick())
        threading.Thread(target=settle).start()
        outcomes = await asyncio.gather(*handles)
        ticking.cancel()
        assert [outcome.job_id for outcome in outcomes] == [handle.id for handle in handles]
        return outcomes, ticks

    outcomes, ticks = asyncio.run(service())
    assert len(outcomes) == 20
    assert ticks >= 10


def test_one_cancelled_waiter_leaves_the_others(
    idle_client: Client, idle_stack: LocalStack
) -> None:
    async def service() -> Outcome:
        handle = await idle_client.submit_async("s3://photos/a.jpg", image="s3://cutouts/a.png")
        first, second = (asyncio.create_task(handle.wait_async(PATIENCE)) for _ in range(2))
        await asyncio.sleep(0.1)
        first.cancel()
        await asyncio.sleep(0.1)
        Ledger(idle_stack.broker_url).record_outcome(done(handle.id))
        return await second

    assert asyncio.run(service()).state == "done"


def test_async_waiting_ends_in_time(idle_client: Client) -> None:
    async def service() -> None:
        handle = await idle_client.submit_async("s3://photos/a.jpg", image="s3://cutouts/a.png")
        await handle.wait_async(0.1)

    with pytest.raises(OutcomeTimeout):
        asyncio.run(service())


def test_few_jobs_are_pending_before_they_are_sent(idle_client: Client) -> None:
    """Recovery would take pending jobs for lost, and send them again, while many are being sent."""
    unsent: list[int] = []

    def watch() -> None:
        with idle_client.runs.server.pipeline(transaction=True) as pipe:
            while not sending.done():
                pipe.zcard("cutwork:pending")
                pipe.llen(f"{QUEUE}:3")
                pending, waiting = pipe.execute()
                unsent.append(pending - waiting)

    with ThreadPoolExecutor(2) as threads:
        sending = threads.submit(
            idle_client.submit_many, [job_of(number) for number in range(1000)]
        )
        threads.submit(watch).result(60)
    assert len(sending.result()) == idle_client.pending() == 1000
    assert 0 < max(unsent) <= 100


def test_submit_many_keeps_the_order_and_as_completed_observes_the_timeout(
    idle_client: Client, idle_stack: LocalStack
) -> None:
    handles = idle_client.submit_many(job_of(number) for number in range(300))
    assert [str(handle.job.source) for handle in handles] == [
        f"s3://photos/{number}.jpg" for number in range(300)
    ]
    assert idle_client.status().waiting == 300
    ledger = Ledger(idle_stack.broker_url)
    for handle in handles[::2]:
        ledger.record_outcome(done(handle.id))
    early = idle_client.as_completed(handles, timeout=5)
    assert {next(early)[0].id for _ in range(150)} == {handle.id for handle in handles[::2]}
    with pytest.raises(OutcomeTimeout, match="150 of 300 jobs have no outcome after 5 s"):
        next(early)


def test_submitting_survives_cut_connections(idle_client: Client, idle_stack: LocalStack) -> None:
    idle_client.submit("s3://photos/a.jpg", image="s3://cutouts/a.png")
    with redis.Redis.from_url(idle_stack.broker_url) as server:
        # Every connection is cut, as a restart does.
        server.client_kill_filter(skipme=True, _type="normal")
    idle_client.submit_many(job_of(number) for number in range(150))
    assert idle_client.pending() == idle_client.status().waiting == 151


def test_jobs_that_cannot_be_sent_do_not_stay_pending(idle_client: Client) -> None:
    idle_client.runs.server.set(f"{QUEUE}:3", "not a list")
    with pytest.raises(BrokerUnavailable, match=r"0 of 150 jobs were enqueued: .*WRONGTYPE"):
        idle_client.submit_many(job_of(number) for number in range(150))
    assert idle_client.pending() == 0


def test_nothing_to_submit(idle_client: Client) -> None:
    assert idle_client.submit_many([]) == []


def test_an_invalid_job_is_refused_before_it_is_sent(idle_client: Client) -> None:
    with pytest.raises(InvalidJob, match="expected a destination"):
        idle_client.submit("s3://photos/a.jpg")
    with pytest.raises(InvalidJob, match=r"source: expected s3://bucket/key, found 'a\.jpg'"):
        idle_client.submit("a.jpg", image="s3://cutouts/a.png")
    with pytest.raises(ValueError, match="threshold"):
        idle_client.submit("s3://photos/a", image="s3://cutouts/a", options=Options(threshold=3))
    assert idle_client.status().waiting == 0
    assert idle_client.pending() == 0


def test_an_unreachable_broker_is_named_without_its_password() -> None:
    (port,) = free_ports(1)
    with (
        Client(f"redis://user:secret@127.0.0.1:{port}/0") as client,
        pytest.raises(BrokerUnavailable) as caught,
    ):
        client.submit("s3://photos/a.jpg", image="s3://cutouts/a.png")
    assert f"redis://***@127.0.0.1:{port}/0" in str(caught.value)
    assert "CUTWORK_BROKER_URL" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_caller_s_celeryconfig_is_not_changed(
    idle_stack: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "celeryconfig.py").write_text("raise RuntimeError('the caller’s own')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with idle_stack.client() as client:
        assert client.submit("s3://photos/a.jpg", image="s3://cutouts/a.png").id


def test_an_unreadable_outcome_is_raised_only_where_that_job_is_awaited(idle: Client) -> None:
    handles = idle.submit_many(job_of(number) for number in range(5))
    *broken, sound, late = handles
    server = idle.runs.server
    with ThreadPoolExecutor(len(handles)) as threads:
        waiting = [threads.submit(handle.wait, 20) for handle in handles]
        server.set(f"cutwork:outcome:{broken[0].id}", "text")
        server.xadd(f"cutwork:outcome:{broken[1].id}", {"foo": "bar"})
        server.xadd(f"cutwork:outcome:{broken[2].id}", {"json": "{}"})
        for handle, future in zip(broken, waiting, strict=False):
            with pytest.raises(ValueError, match=f"job {handle.id}: expected an outcome as"):
                future.result(PATIENCE)
            with pytest.raises(UnreadableOutcome):
                handle.outcome()
        Ledger(idle.broker_url).record_outcome(done(sound.id))
        assert waiting[3].result(PATIENCE).state == "done"
        assert not waiting[4].done()
        Ledger(idle.broker_url).record_outcome(done(late.id))
        assert waiting[4].result(PATIENCE).state == "done"


def test_a_long_outcome_of_an_older_worker_is_read_shortened(idle: Client) -> None:
    handle = idle.submit("s3://photos/a.jpg", image="s3://cutouts/a.png")
    facts = {"job_id": handle.id, "state": "failed", "message": f"\x1b{'x' * 5_000_000}; rename it"}
    entry: dict[Any, Any] = {"json": json.dumps(facts | {"warnings": ["w"] * 5000})}
    idle.runs.server.xadd(f"cutwork:outcome:{handle.id}", entry)
    outcome = handle.wait(PATIENCE)
    assert (outcome.message or "").startswith("\\x1bxxx")
    assert (outcome.message or "").endswith("; rename it")
    assert len(outcome.message or "") <= 2048
    assert outcome.warnings[-1] == "4,981 more warnings were left out"


def test_thousands_of_jobs_are_awaited_at_once(idle_stack: LocalStack, idle_client: Client) -> None:
    handles = idle_client.submit_many(job_of(number) for number in range(3000))
    ledger = Ledger(idle_stack.broker_url)
    waiting = idle_client.as_completed(handles, timeout=PATIENCE)
    for handle in reversed(handles):
        ledger.record_outcome(done(handle.id))
    assert {handle.id for handle, _ in waiting} == {handle.id for handle in handles}


def test_a_redelivery_does_not_replace_the_first_outcome(
    idle_client: Client, idle_stack: LocalStack
) -> None:
    handle = idle_client.submit("s3://photos/a.jpg", image="s3://cutouts/a.png")
    ledger = Ledger(idle_stack.broker_url)
    ledger.record_outcome(done(handle.id))
    ledger.record_outcome(Outcome(job_id=handle.id, state="skipped"))
    assert handle.wait(PATIENCE).state == "done"


def test_closing_a_client_ends_its_waiters(idle_stack: LocalStack) -> None:
    client = idle_stack.client()
    handle = client.submit("s3://photos/a.jpg", image="s3://cutouts/a.png")
    ended: list[type[BaseException]] = []

    def wait() -> None:
        try:
            handle.wait(PATIENCE)
        except ClientClosed as error:
            ended.append(type(error))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.2)
    client.close()
    thread.join(PATIENCE)
    assert ended == [ClientClosed]


def test_waiting_outlives_a_restart_of_the_broker(
    idle_stack: LocalStack, idle_client: Client
) -> None:
    with redis.Redis.from_url(idle_stack.broker_url) as server:
        handle = idle_client.submit("s3://photos/a.jpg", image="s3://cutouts/a.png")
        outcomes: list[Outcome] = []
        thread = threading.Thread(target=lambda: outcomes.append(handle.wait(PATIENCE)))
        thread.start()
        # Every connection is cut, as a restart does.
        server.client_kill_filter(skipme=True, _type="normal")
        time.sleep(0.3)
    Ledger(idle_stack.broker_url).record_outcome(done(handle.id))
    thread.join(PATIENCE)
    assert [outcome.state for outcome in outcomes] == ["done"]
