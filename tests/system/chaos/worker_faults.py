"""Workers that are killed, terminated or stopped while they work."""

import re
import signal
import time
from typing import Final

from tests.system.chaos.cluster import (
    VISIBILITY_TIMEOUT,
    Cluster,
    UnexpectedState,
    Worker,
    stopped,
    until,
)
from tests.system.chaos.load import Load, Singles
from tests.system.chaos.rounds import Fault
from tests.system.chaos.s3_proxy import Hold

_LATE_SECONDS: Final = 8.0
"""The time that a resumed worker gets for the jobs it had begun."""
_ENDED: Final = re.compile(r"job \S+(?: (?:done|skipped) in| failed:|, attempt \d+:|: the )")


def _kill_mid_fetch(cluster: Cluster, load: Load) -> None:
    _kill_at_request(cluster, load, "GET", place="photos")


def _kill_mid_store(cluster: Cluster, load: Load) -> None:
    """Kill a worker that has stored the mask but not the image."""
    (prefix,) = {item.image.rpartition("/")[0] for item in load.items}
    _kill_at_request(cluster, load, "PUT", place=f"cutouts/{prefix}")


def _kill_at_request(cluster: Cluster, load: Load, method: str, *, place: str) -> None:
    """Kill the worker that sends such a request before it gets a response."""
    hold = Hold()
    with cluster.store.failing(hold, method, place=place, times=1):
        load.send()
        until(hold.reached.is_set, f"{method} {place}")
        cluster.kill(cluster.find_worker(hold.holding_workers[0]))


def _kill_in_model(cluster: Cluster, load: Load) -> None:
    load.send()
    cluster.kill(in_model(cluster))


def _kill_the_only_one(cluster: Cluster, load: Load) -> None:
    while len(cluster.workers) > 1:
        cluster.kill(cluster.workers[-1], replaced=False)
    load.send()
    cluster.kill(in_model(cluster))
    cluster.wait_for_workers()


def _terminate(cluster: Cluster, load: Load) -> None:
    load.send()
    worker = in_model(cluster)
    # Stopped, it takes no more images between the count and the signal.
    worker.child.signal(signal.SIGSTOP)
    until(lambda: stopped(worker.child.pid), "a stopped worker")
    runs_before = worker.runs()
    worker.child.signal(signal.SIGTERM)
    status = cluster.kill(worker, signal.SIGCONT)
    if status:
        raise UnexpectedState(f"expected exit status 0 after SIGTERM, found {status}")
    # It finishes the jobs of its threads, and those that the threads had already taken.
    new_runs = worker.runs() - runs_before
    if new_runs > cluster.spec.concurrency:
        raise UnexpectedState(f"expected no new images after SIGTERM, found {new_runs}")


def _terminate_then_kill(cluster: Cluster, load: Load) -> None:
    load.send()
    worker = in_model(cluster)
    worker.child.signal(signal.SIGTERM)
    time.sleep(0.05)
    cluster.kill(worker)


def _stop_and_go_on(cluster: Cluster, load: Load) -> None:
    load.send()
    worker = in_model(cluster)
    worker.child.signal(signal.SIGSTOP)
    until(lambda: stopped(worker.child.pid), "a stopped worker")
    cluster.fault_end = time.monotonic()
    # Until another worker has done the jobs of this one, after the visibility timeout.
    time.sleep(VISIBILITY_TIMEOUT + 0.5)
    if isinstance(load, Singles):
        load.wait(30)
    worker.child.signal(signal.SIGCONT)
    # Its late writes must do no harm.
    deadline = time.monotonic() + _LATE_SECONDS
    while not _idle(worker) and time.monotonic() < deadline:
        time.sleep(0.05)


def _idle(worker: Worker) -> bool:
    text = worker.child.log.read_text(errors="replace")
    return text.count("] received") <= len(_ENDED.findall(text))


def in_model(cluster: Cluster, *wanted: Worker) -> Worker:
    """Return one of these workers, by default of all, as soon as its model runs."""
    workers = wanted or tuple(cluster.workers)
    before = {worker.name: worker.runs() for worker in workers}

    def busy_worker() -> Worker | None:
        for worker in workers:
            if worker.runs() > before[worker.name]:
                return worker
        return None

    worker: Worker = until(busy_worker, "a running model")
    return worker


FAULTS: Final = (
    Fault(
        name="killed-mid-fetch",
        what="kill -9 of a worker mid-fetch",
        inject=_kill_mid_fetch,
    ),
    Fault(name="killed-mid-model", what="kill -9 of a worker mid-model", inject=_kill_in_model),
    Fault(
        name="killed-mid-store",
        what="kill -9 of a worker mid-store, between mask and image",
        inject=_kill_mid_store,
    ),
    Fault(
        name="killed-under-sync",
        what="kill -9 of a worker mid-model, a run of `cutwork sync`",
        inject=_kill_in_model,
        by="sync",
    ),
    Fault(
        name="only-worker-killed",
        what="kill -9 of the only worker; another starts",
        inject=_kill_the_only_one,
    ),
    Fault(name="terminated", what="SIGTERM of a worker under full load", inject=_terminate),
    Fault(
        name="terminated-then-killed",
        what="SIGTERM, then SIGKILL",
        inject=_terminate_then_kill,
    ),
    Fault(
        name="stopped",
        what="SIGSTOP past the visibility timeout, then SIGCONT",
        inject=_stop_and_go_on,
    ),
)
