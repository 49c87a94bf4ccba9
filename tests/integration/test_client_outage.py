"""A client and a broker that refuses, is silent, drips bytes, or fails over; forks and closing."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Final

import pytest
from kombu.exceptions import KombuError

from producer import (
    BrokerUnavailable,
    Client,
    ClientClosed,
    CutworkError,
    Handle,
    ImageRef,
    InvalidJob,
    Job,
    Options,
    Outcome,
    OutcomeTimeout,
    UnknownJob,
    UnknownRun,
)
from producer.store.deadline import TRANSIENT, deadline, retry_until_deadline
from producer.store.ledger import Ledger
from producer.store.publish import publish
from tests.support.jobs import job_of
from tests.support.patience import PATIENCE

TIMEOUT: Final = 1
"""CUTWORK_BROKER_TIMEOUT of these clients."""
HANGING: Final = PATIENCE / 2
"""A call that takes this long has no bound, however busy the machine is."""


@contextmanager
def broken_broker(kind: str) -> Iterator[str]:
    """Yield the URL of a broker that `refuses` connections, is `silent`, or `drips` bytes."""
    with socket.socket() as listener, ThreadPoolExecutor(1) as accepting:
        listener.bind(("127.0.0.1", 0))
        connections: list[socket.socket] = []
        stopping = threading.Event()

        def accept() -> None:
            listener.settimeout(0.05)
            while not stopping.is_set():
                with suppress(TimeoutError):
                    connections.append(listener.accept()[0])
                for connection in connections if kind == "drips" else []:
                    with suppress(OSError):
                        connection.send(b"+")

        if kind != "refuses":
            listener.listen(500)
            accepting.submit(accept)
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        stopping.set()
        accepting.shutdown()
        for connection in connections:
            connection.close()


async def submit_many_async(client: Client, count: int) -> list[Any]:
    calls = [
        client.submit_async("s3://photos/a.jpg", image=f"s3://cutouts/{number}.png")
        for number in range(count)
    ]
    return await asyncio.gather(*calls, return_exceptions=True)


def first_of(client: Client) -> None:
    next(client.as_completed([client.handle("a")]))


CALLS: dict[str, Callable[[Client], object]] = {
    "submit": lambda client: client.submit("s3://photos/a.jpg", image="s3://cutouts/a.png"),
    "submit_many": lambda client: client.submit_many([job_of(0)]),
    "outcome": lambda client: client.handle("a").outcome(),
    "state": lambda client: client.handle("a").state(),
    "wait": lambda client: client.handle("a").wait(None),
    "wait_async": lambda client: asyncio.run(client.handle("a").wait_async()),
    "as_completed": first_of,
    "cancel": lambda client: client.cancel("a"),
    "status": lambda client: client.status(),
    "pending": lambda client: client.pending(),
    "server": lambda client: client.server(),
    "workers": lambda client: client.workers(timeout=0.1),
    "served_queues": lambda client: client.served_queues(timeout=0.1),
    "runs": lambda client: client.runs.runs(),
    "record": lambda client: client.runs.record("20260101-000000-abcdef"),
}
"""Every public method that asks the broker."""


@pytest.fixture(scope="module", autouse=True)
def timeout() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUTWORK_BROKER_TIMEOUT", str(TIMEOUT))
        yield


@pytest.mark.parametrize("kind", ["refuses", "silent", "drips"])
def test_every_call_ends_with_our_exception(kind: str) -> None:
    """All at the same time, with many coroutines: none waits for another one's turn."""
    with broken_broker(kind) as url, Client(url) as client, ThreadPoolExecutor(50) as threads:
        begun = time.monotonic()
        calls = {name: threads.submit(call, client) for name, call in CALLS.items()}
        calls |= {f"job {number}": threads.submit(CALLS["submit"], client) for number in range(20)}
        burst = threads.submit(asyncio.run, submit_many_async(client, 200))
        for name, call in calls.items():
            error = call.exception(HANGING)
            assert isinstance(error, BrokerUnavailable), (name, error)
            assert "CUTWORK_BROKER_URL" in str(error), name
        assert {type(error) for error in burst.result(HANGING)} == {BrokerUnavailable}
        assert time.monotonic() - begun < HANGING


@pytest.mark.parametrize("kind", ["refuses", "silent", "drips"])
def test_sending_ends_although_the_ledger_still_answered(kind: str) -> None:
    with broken_broker(kind) as url, Client(url) as client:
        begun = time.monotonic()
        with pytest.raises((KombuError, *TRANSIENT)), deadline(TIMEOUT):
            retry_until_deadline(lambda: publish(client.app, [job_of(0)]), (KombuError, *TRANSIENT))
        assert time.monotonic() - begun < HANGING


def test_a_short_wait_ends_with_its_own_exception() -> None:
    with broken_broker("silent") as url, Client(url) as client, pytest.raises(OutcomeTimeout):
        client.handle("a").wait(0.1)


def test_a_failover_within_the_time_is_waited_out(
    idle: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old server is read-only, then gone; the new one answers a little later."""
    monkeypatch.setenv("CUTWORK_BROKER_TIMEOUT", str(int(PATIENCE)))
    port, _, database = idle.broker_url.rpartition(":")[2].partition("/")
    with socket.socket() as listener, ThreadPoolExecutor(1) as threads:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}/{database}"
        with Client(url) as client:
            submitting = threads.submit(CALLS["submit"], client)
            old, _ = listener.accept()
            with old:
                old.recv(4096)
                old.sendall(b"-READONLY You can't write against a read only replica.\r\n")
            new = threading.Thread(target=forward, args=(listener, int(port)), daemon=True)
            new.start()
            handle = submitting.result(PATIENCE)
        listener.shutdown(socket.SHUT_RDWR)
        new.join(PATIENCE)
    assert isinstance(handle, Handle)
    assert idle.handle(handle.id).state() == "pending"


def forward(listener: socket.socket, port: int) -> None:
    """Forward the connections of a listener until it is shut down."""

    def copy(source: socket.socket, target: socket.socket) -> None:
        with source, suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    with suppress(OSError):
        while True:
            ours, _ = listener.accept()
            theirs = socket.create_connection(("127.0.0.1", port))
            for pair in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=copy, args=pair, daemon=True).start()


def test_after_close_every_call_says_so(idle: Client) -> None:
    client = Client(idle.broker_url)
    handle = client.submit("s3://photos/a.jpg", image="s3://cutouts/a.png")
    client.close()
    client.close()
    for call in CALLS.values():
        with pytest.raises(ClientClosed, match="open another"):
            call(client)
    with pytest.raises(ClientClosed):
        handle.wait(1)
    with pytest.raises(ClientClosed):
        asyncio.run(client.submit_async("s3://photos/a.jpg", image="s3://cutouts/a.png"))
    assert idle.pending() == 1


def test_jobs_that_are_queued_when_the_client_closes_are_sent_first(idle: Client) -> None:
    client = Client(idle.broker_url)
    sender = client.connections.sender
    queued = [sender.submit(job_of(number), seconds=PATIENCE) for number in range(300)]
    client.close()
    assert [future.result(0) for future in queued] == [None] * 300
    assert idle.pending() == 300


def test_jobs_of_many_coroutines_are_sent(idle: Client) -> None:
    handles = asyncio.run(submit_many_async(idle, 250))
    assert len({handle.id for handle in handles}) == 250
    assert idle.pending() == idle.status().waiting == 250


def in_child(check: Callable[[], object]) -> int:
    """Return the exit status of a forked child that ends with 0 if `check` returns in time."""
    child = os.fork()
    if child == 0:
        status: Future[object] = Future()

        def run() -> None:
            try:
                status.set_result(check())
            except BaseException as error:  # noqa: BLE001 - reported by the exit status
                status.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        try:
            os._exit(0 if status.exception(PATIENCE) is None else 1)
        except BaseException:  # noqa: BLE001 - the child must never return into pytest
            os._exit(2)
    _, exit_status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(exit_status)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_works_although_the_parent_s_threads_waited_at_the_fork(idle: Client) -> None:
    awaited, ended = idle.submit_many([job_of(0), job_of(1)])
    Ledger(idle.broker_url).record_outcome(Outcome(job_id=ended.id, state="done"))
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(awaited.wait, PATIENCE) for _ in range(4)]
        # The worst moment: threads of the parent hold the locks that a child would need.
        locks = [idle.connections.waiter._lock, idle.connections.sender._lock]
        for lock in locks:
            lock.acquire()

        def child() -> None:
            assert ended.wait(PATIENCE).state == "done"
            with pytest.raises(OutcomeTimeout):
                awaited.wait(0.2)
            submitted = asyncio.run(submit_many_async(idle, 1))
            assert submitted[0].state() == "pending"
            idle.submit("s3://photos/a.jpg", image="s3://cutouts/child.png")

        try:
            assert in_child(child) == 0
        finally:
            for lock in locks:
                lock.release()
        Ledger(idle.broker_url).record_outcome(Outcome(job_id=awaited.id, state="done"))
        assert {future.result(PATIENCE).state for future in waiting} == {"done"}
    assert idle.pending() == 2


def test_a_job_is_found_by_its_id(idle: Client) -> None:
    job = idle.submit("s3://photos/a.jpg", image="s3://cutouts/a.png").job
    handle = idle.handle(job.id)
    assert (handle.id, handle.state(), handle.outcome()) == (job.id, "pending", None)
    assert idle.handle("never-submitted").state() == "unknown"
    with pytest.raises(InvalidJob, match="of the id alone"):
        _ = handle.job
    assert handle.cancel()
    outcome = idle.handle(job.id).outcome()
    assert outcome is not None
    assert (handle.state(), outcome.state) == ("ended", "cancelled")
    assert not idle.cancel(job)
    with pytest.raises(UnknownJob, match="never-submitted"):
        idle.cancel("never-submitted")


INVALID: dict[str, Callable[[Client], object]] = {
    "options": lambda _: Options(threshold=2),
    "unknown option": lambda _: Options(colour="red"),  # type: ignore[call-arg]
    "job": lambda _: Job(source="a.jpg", image="s3://cutouts/a.png"),
    "job without destination": lambda _: Job(source="s3://photos/a.jpg"),
    "reference": lambda _: ImageRef(bucket="A", key=""),
    "positional": lambda _: ImageRef("s3://photos/a.jpg"),  # type: ignore[call-arg]
    "parse": lambda _: ImageRef.parse("photos/a.jpg"),
    "message": lambda _: Job.from_message("text"),
    "source": lambda client: client.submit("a.jpg", image="s3://cutouts/a.png"),
    "source type": lambda client: client.submit(5, image="s3://cutouts/a.png"),  # type: ignore[arg-type]
    "options type": lambda client: client.submit(
        "s3://photos/a.jpg",
        image="s3://cutouts/a.png",
        options="fast",  # type: ignore[arg-type]
    ),
    "surrogate": lambda client: client.submit("s3://photos/\udc80", image="s3://cutouts/a.png"),
    "async": lambda client: asyncio.run(client.submit_async("a.jpg", image="s3://cutouts/a.png")),
    "jobs": lambda client: client.submit_many(["s3://photos/a.jpg"]),  # type: ignore[list-item]
    "handle": lambda client: client.handle("no spaces"),
    "handle type": lambda client: client.handle(None),  # type: ignore[arg-type]
    "cancel": lambda client: client.cancel(""),
    "name of another format": lambda client: client.submit(
        "s3://photos/a.jpg", image="s3://cutouts/a.avif", options=Options(image_format="webp")
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_bad_input_is_an_invalid_job(idle: Client, name: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        INVALID[name](idle)
    assert isinstance(caught.value, CutworkError)
    assert isinstance(caught.value, ValueError)
    assert idle.pending() == 0


def test_an_unknown_run_is_ours(idle: Client) -> None:
    with pytest.raises(UnknownRun):
        idle.runs.record("no such run")


def test_a_refusal_of_the_broker_is_ours_and_immediate(idle: Client) -> None:
    idle.runs.server.set("cutwork:pending", "text")
    with pytest.raises(BrokerUnavailable, match="refuses"):
        idle.pending()
    idle.runs.server.flushdb()
    url = idle.broker_url.replace("redis://", "redis://nobody:wrong@")
    with Client(url) as client, pytest.raises(BrokerUnavailable, match="refuses"):
        client.submit("s3://photos/a.jpg", image="s3://cutouts/a.png")


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        ('{"job_id": "another", "state": "done"}', "expected JOB, found 'another'"),
        ('{"job_id": "JOB", "state": "failed", "message": "' + "x" * 50_000_000 + '"}', "at most"),
        ('{"job_id": "JOB", "state": "exploded"}', "state"),
    ],
)
def test_an_outcome_that_no_worker_wrote_is_refused_in_a_short_sentence(
    idle: Client, stored: str, sentence: str
) -> None:
    (handle,) = idle.submit_many([job_of(0)])
    text: Any = {"json": stored.replace("JOB", handle.id)}
    idle.runs.server.xadd(f"cutwork:outcome:{handle.id}", text)
    with pytest.raises(CutworkError, match=sentence.replace("JOB", handle.id)) as caught:
        handle.wait(PATIENCE)
    assert len(str(caught.value)) < 2000


def test_an_outcome_is_cleaned(idle: Client) -> None:
    (handle,) = idle.submit_many([job_of(0)])
    text = '{"job_id": "JOB", "state": "failed", "code": "\\u001b[31m", "message": "a\\nb"}'
    fields: Any = {"json": text.replace("JOB", handle.id)}
    idle.runs.server.xadd(f"cutwork:outcome:{handle.id}", fields)
    outcome = handle.wait(PATIENCE)
    assert (outcome.code, outcome.message) == ("\\x1b[31m", "a\\nb")
