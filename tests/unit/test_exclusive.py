"""The reader–writer lock under which a job on its last delivery runs alone."""

import threading

from tests.support.blocked import until_blocked_in
from tests.support.patience import PATIENCE
from worker.broker import reader_writer_lock
from worker.broker.reader_writer_lock import ReaderWriterLock


def test_an_exclusive_holder_runs_alone_and_is_not_starved() -> None:
    job_lock, order = ReaderWriterLock(), list[str]()
    inside, leave, alone = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with job_lock.hold(exclusive=False):
            inside.set()
            leave.wait(PATIENCE)
            order.append("first")

    def exclusive_job() -> None:
        alone.set()
        with job_lock.hold(exclusive=True):
            order.append("suspect")

    def newcomer() -> None:
        with job_lock.hold(exclusive=False):
            order.append("newcomer")

    threads = [threading.Thread(target=target) for target in (first, exclusive_job, newcomer)]
    threads[0].start()
    assert inside.wait(PATIENCE)
    threads[1].start()
    assert alone.wait(PATIENCE)
    until_blocked_in(reader_writer_lock, 1)
    threads[2].start()
    until_blocked_in(reader_writer_lock, 2)
    assert order == []
    leave.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert order == ["first", "suspect", "newcomer"]
