"""Jobs of asyncio callers are sent in groups, each within its own time. No broker."""

import threading
from collections.abc import Sequence

import pytest

from producer import Job
from producer.client.sender import Sender
from tests.support.jobs import job_of

PATIENCE = 60


class Recorder:
    """A sending function that waits for `go`, then records the group or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.groups: list[tuple[list[str], float]] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.error = error

    def __call__(self, jobs: Sequence[Job], *, seconds: float) -> None:
        self.begun.set()
        assert self.go.wait(PATIENCE)
        self.groups.append(([job.id for job in jobs], seconds))
        if self.error:
            raise self.error


def test_what_is_queued_meanwhile_is_one_group_and_ends_with_the_first_deadline() -> None:
    now = [0.0]
    send = Recorder()
    sender = Sender(send, limit=3, clock=lambda: now[0])
    jobs = [job_of(number) for number in range(6)]
    futures = [sender.submit(jobs[0], seconds=10)]
    assert send.begun.wait(PATIENCE)
    for number, job in enumerate(jobs[1:]):
        now[0] = float(number)
        futures.append(sender.submit(job, seconds=10))
    assert futures[2].cancel()
    send.go.set()
    for future in (*futures[:2], *futures[3:]):
        assert future.result(PATIENCE) is None
    ids = [job.id for job in jobs]
    assert send.groups == [
        ([ids[0]], 10),
        ([ids[1], ids[3], ids[4]], 6),  # The first of them has waited for 4 seconds.
        ([ids[5]], 10),
    ]
    sender.close()


def test_all_of_a_group_fail_and_the_next_one_is_tried() -> None:
    send = Recorder(error=ConnectionError("away"))
    send.go.set()
    sender = Sender(send, limit=2)
    futures = [sender.submit(job_of(number), seconds=10) for number in range(5)]
    for future in futures:
        with pytest.raises(ConnectionError, match="away"):
            future.result(PATIENCE)
    send.error = None
    assert sender.submit(job_of(5), seconds=10).result(PATIENCE) is None
    sender.close()
