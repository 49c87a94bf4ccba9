"""A real broker, a real S3 and workers, with a network between them that can be made to fail."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import libfaketime
import psutil
import redis

from benchmarks.pictures import put_pictures
from deploy.child import Child
from deploy.local import LocalStack
from producer.store.routes import Routes
from tests.system.chaos.s3_proxy import S3Proxy
from tests.system.chaos.tcp_proxy import TcpProxy

PICTURES: Final = 24
VISIBILITY: Final = 2
"""Seconds after which what a dead worker held comes back."""
BROKER_TIMEOUT: Final = 2
"""Seconds a worker waits for the broker to say something."""
READ_TIMEOUT: Final = 1
"""Seconds a worker waits for S3 to say something."""
GUARD_SECONDS: Final = 120.0
"""The longest wait for a condition, so that a round that hangs ends; no round relies on it."""
PERSISTENT: Final = ("--appendonly", "yes", "--appendfsync", "always")
_BUCKETS: Final = ("photos", "cutouts", "models", "elsewhere")
FAKETIME: Final = (
    Path(libfaketime.__file__).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
)
"""Shifts the clock of a process below Python; the library's own module patches Python instead."""


class Broken(Exception):
    """What should have happened did not; the text says what was found instead."""


@dataclass(frozen=True)
class Worker:
    """One worker and what it leaves behind."""

    name: str
    child: Child
    log: Path
    """A byte for each image its model saw."""
    clock: Path
    """How wrong its clock is, in libfaketime's notation: `+600`; heeded within a second.

    Only where the terrain has clocks."""

    def runs(self) -> int:
        """How many images its model saw."""
        return self.log.stat().st_size

    def memory(self) -> int:
        """Bytes of RAM it has, those of libraries included, whoever else has them."""
        return int(psutil.Process(self.child.pid).memory_info().rss)


@dataclass(frozen=True, kw_only=True)
class Terrain:
    """What a ground is made of; faults of the same terrain may share one."""

    workers: int = 2
    concurrency: int = 2
    clocks: bool = False
    """Whether each worker has a clock of its own, which can be set; it is slower for that."""
    variables: tuple[tuple[str, str], ...] = ()
    """Of the workers, before all others."""
    environment: Callable[["Ground"], dict[str, str]] | None = None
    """More of them, for what is known only when the servers run."""


PLAIN: Final = Terrain()


@dataclass
class Ground:
    """Servers, proxies and workers of one terrain; a context manager."""

    folder: Path
    terrain: Terrain
    workers: list[Worker] = field(default_factory=list)
    """Those that are to run, the oldest first."""
    over: float | None = None
    """When the fault was over, for one that itself waits for the load afterwards."""
    _gone: list[Worker] = field(default_factory=list)

    def __enter__(self) -> Self:
        with ExitStack() as held:
            self.stack = held.enter_context(LocalStack(self.folder))
            self.broker = self.stack.start_broker(*PERSISTENT)
            self.s3_server = self.stack.start_s3()
            self.s3 = self.stack.s3()
            for bucket in _BUCKETS:
                self.s3.create_bucket(Bucket=bucket)
            put_pictures(self.s3, "photos", "in/", PICTURES)
            self.network = held.enter_context(TcpProxy(_port(self.stack.broker_url)))
            self.store = held.enter_context(S3Proxy(_port(self.stack.s3_url)))
            self.client = held.enter_context(self.stack.client())
            self.server: redis.Redis = held.enter_context(
                redis.Redis.from_url(self.stack.broker_url)
            )
            for _ in range(self.terrain.workers):
                self.add_worker()
            self.wait_for_workers()
            self._held = held.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Nobody waits for what the workers still do.
        self.stack.stop(grace=0)
        self._held.close()

    def add_worker(self, **variables: str) -> Worker:
        """Start one more; it is not ready yet."""
        number = len(self.workers) + len(self._gone) + 1
        name = f"w{number}"
        log, clock = self.folder / f"{name}.runs", self.folder / f"{name}.clock"
        log.touch()
        clock.write_text("+0")
        environment = self.terrain.environment(self) if self.terrain.environment else {}
        child = self.stack.start_worker(
            app="benchmarks.standin",
            concurrency=self.terrain.concurrency,
            **{
                "CUTWORK_BROKER_URL": f"redis://127.0.0.1:{self.network.port}/0",
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.store.port}",
                "AWS_SDK_UA_APP_ID": name,
                "CUTWORK_STANDIN": "deadly",
                "CUTWORK_STANDIN_SECONDS": "0.1",
                "CUTWORK_STANDIN_LOG": str(log),
                "CUTWORK_MODELS_FROM": "s3://models",
                "CUTWORK_MODEL_CACHE": str(self.folder / "models"),
                "CUTWORK_VISIBILITY_TIMEOUT": str(VISIBILITY),
                "CUTWORK_BROKER_TIMEOUT": str(BROKER_TIMEOUT),
                "CUTWORK_S3_READ_TIMEOUT": str(READ_TIMEOUT),
                **(_clock(clock) if self.terrain.clocks else {}),
                **environment,
                **dict(self.terrain.variables),
                **variables,
            },
        )
        worker = Worker(name, child, log, clock)
        self.workers.append(worker)
        return worker

    def wait_for_workers(self) -> None:
        """Bring the workers up to their number, and wait until all take jobs."""
        for worker in [worker for worker in self.workers if not worker.child.running]:
            self.workers.remove(worker)
            self._gone.append(worker)
        while len(self.workers) < self.terrain.workers:
            self.add_worker()
        for worker in self.workers:
            self.stack.wait_for_worker(worker.child, timeout=GUARD_SECONDS)

    def kill(
        self,
        worker: Worker,
        number: signal.Signals = signal.SIGKILL,
        *,
        timeout: float = GUARD_SECONDS,
        replaced: bool = True,
    ) -> int:
        """End a worker by a signal, and start another in its place; its exit status."""
        worker.child.signal(number)
        try:
            status = worker.child.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise Broken(f"{worker.name} still runs after {timeout:g} s") from error
        self.workers.remove(worker)
        self._gone.append(worker)
        if replaced:
            self.add_worker()
        return status

    def broken(self) -> Iterator[str]:
        """What no fault may do to a worker that nobody killed, in words."""
        for worker in self.workers:
            if not worker.child.running:
                yield f"{worker.name} ended by itself, with {worker.child.wait()}"
            elif "Exception in thread" in worker.child.log.read_text(errors="replace"):
                yield f"{worker.name} lost a thread"

    def named(self, name: str) -> Worker:
        """The worker of a name."""
        return next(worker for worker in self.workers if worker.name == name)

    def runs(self) -> int:
        """How many images all models have seen."""
        return sum(worker.runs() for worker in (*self.workers, *self._gone))

    def until_runs(self, count: int, *, timeout: float = GUARD_SECONDS) -> None:
        """Wait until all models have seen so many images."""
        until(lambda: self.runs() >= count, f"{count} images seen by a model", timeout=timeout)

    def settle(self, *, timeout: float = 10) -> None:
        """Wait until nothing waits in the queue and no worker holds anything."""
        deadline = time.monotonic() + timeout
        names = Routes.from_app(self.client.app).all_lists()
        while time.monotonic() < deadline:
            with self.server.pipeline() as pipe:
                for name in names:
                    pipe.llen(name)
                pipe.hlen("unacked")
                if not any(pipe.execute()):
                    return
            time.sleep(0.05)


def until(condition: Callable[[], object], what: str, *, timeout: float = GUARD_SECONDS) -> Any:
    """Wait until a condition holds, and return what it gave; `Broken` names it otherwise."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise Broken(f"expected within {timeout:g} s: {what}")
        time.sleep(0.01)
    return found


def stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal."""
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


def _clock(file: Path) -> dict[str, str]:
    """Variables with which a process takes its time from a file.

    Its threads wait for each other in a busy loop then: for what is about clocks only.
    """
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        # The shortest there is but a look at the file each time anybody asks for the time.
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])
