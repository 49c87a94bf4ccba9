"""Workers that are killed, asked to end, or stopped in the middle of their work."""

import re
import signal
import time
from typing import Final

from tests.system.chaos.ground import VISIBILITY, Broken, Ground, Worker, stopped, until
from tests.system.chaos.load import Load, Singles
from tests.system.chaos.rounds import Fault
from tests.system.chaos.s3_proxy import Hold

_LATE: Final = 8.0
"""Seconds a worker that goes on has for what it had begun."""
_ENDED: Final = re.compile(r"job \S+(?: (?:done|skipped) in| failed:|, attempt \d+:|: the )")


def _kill_mid_fetch(ground: Ground, load: Load) -> None:
    _kill_at_request(ground, load, "GET", place="photos")


def _kill_mid_store(ground: Ground, load: Load) -> None:
    """The mask is stored, the image is not."""
    (prefix,) = {item.image.rpartition("/")[0] for item in load.items}
    _kill_at_request(ground, load, "PUT", place=f"cutouts/{prefix}")


def _kill_at_request(ground: Ground, load: Load, method: str, *, place: str) -> None:
    """Kill whoever sends such a request, while it is unanswered."""
    hold = Hold()
    with ground.store.failing(hold, method, place=place, times=1):
        load.send()
        until(hold.reached.is_set, f"{method} {place}")
        ground.kill(ground.named(hold.holders[0]))


def _kill_in_model(ground: Ground, load: Load) -> None:
    load.send()
    ground.kill(in_model(ground))


def _kill_the_only_one(ground: Ground, load: Load) -> None:
    while len(ground.workers) > 1:
        ground.kill(ground.workers[-1], replaced=False)
    load.send()
    ground.kill(in_model(ground))
    ground.wait_for_workers()


def _terminate(ground: Ground, load: Load) -> None:
    load.send()
    worker = in_model(ground)
    # Stopped, it takes no more images between the count and the signal.
    worker.child.signal(signal.SIGSTOP)
    until(lambda: stopped(worker.child.pid), "a stopped worker")
    held = worker.runs()
    worker.child.signal(signal.SIGTERM)
    status = ground.kill(worker, signal.SIGCONT)
    if status:
        raise Broken(f"expected exit status 0 after SIGTERM, found {status}")
    # It finishes what runs and takes nothing new: the threads' own, and those in their queue.
    if worker.runs() - held > ground.terrain.concurrency:
        raise Broken(f"it took {worker.runs() - held} new images after SIGTERM")


def _terminate_then_kill(ground: Ground, load: Load) -> None:
    load.send()
    worker = in_model(ground)
    worker.child.signal(signal.SIGTERM)
    time.sleep(0.05)
    ground.kill(worker)


def _stop_and_go_on(ground: Ground, load: Load) -> None:
    load.send()
    worker = in_model(ground)
    worker.child.signal(signal.SIGSTOP)
    until(lambda: stopped(worker.child.pid), "a stopped worker")
    ground.over = time.monotonic()
    # Past the visibility timeout, until another worker has done what this one holds.
    time.sleep(VISIBILITY + 0.5)
    if isinstance(load, Singles):
        load.wait(30)
    worker.child.signal(signal.SIGCONT)
    # What it writes late must do no harm either.
    deadline = time.monotonic() + _LATE
    while not _idle(worker) and time.monotonic() < deadline:
        time.sleep(0.05)


def _idle(worker: Worker) -> bool:
    text = worker.child.log.read_text(errors="replace")
    return text.count("] received") <= len(_ENDED.findall(text))


def in_model(ground: Ground, *wanted: Worker) -> Worker:
    """One of these workers, or of all, as soon as its model runs."""
    workers = wanted or tuple(ground.workers)
    before = {worker.name: worker.runs() for worker in workers}

    def began() -> Worker | None:
        for worker in workers:
            if worker.runs() > before[worker.name]:
                return worker
        return None

    found: Worker = until(began, "a model that runs")
    return found


FAULTS: Final = (
    Fault(
        name="killed-mid-fetch",
        what="kill -9 of a worker mid-fetch",
        strike=_kill_mid_fetch,
    ),
    Fault(name="killed-mid-model", what="kill -9 of a worker mid-model", strike=_kill_in_model),
    Fault(
        name="killed-mid-store",
        what="kill -9 of a worker mid-store, between mask and image",
        strike=_kill_mid_store,
    ),
    Fault(
        name="killed-under-sync",
        what="kill -9 of a worker mid-model, a run of `cutwork sync`",
        strike=_kill_in_model,
        by="sync",
    ),
    Fault(
        name="only-worker-killed",
        what="kill -9 of the only worker; another starts",
        strike=_kill_the_only_one,
    ),
    Fault(name="terminated", what="SIGTERM of a worker under full load", strike=_terminate),
    Fault(
        name="terminated-then-killed",
        what="SIGTERM, then SIGKILL",
        strike=_terminate_then_kill,
    ),
    Fault(
        name="stopped",
        what="SIGSTOP past the visibility timeout, then SIGCONT",
        strike=_stop_and_go_on,
    ),
)
