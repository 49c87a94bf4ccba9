"""A broker, an S3 server and workers, with proxies between them that inject faults."""

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
VISIBILITY_TIMEOUT: Final = 2
"""Seconds until the deliveries of a dead worker are requeued."""
BROKER_TIMEOUT: Final = 2
"""Seconds that a worker waits for the broker's response."""
READ_TIMEOUT: Final = 1
"""Seconds that a worker waits for S3's response."""
GUARD_SECONDS: Final = 120.0
"""The longest wait for a condition, so that a round that hangs ends; no round relies on it."""
PERSISTENT: Final = ("--appendonly", "yes", "--appendfsync", "always")
_BUCKETS: Final = ("photos", "cutouts", "models", "elsewhere")
FAKETIME: Final = (
    Path(libfaketime.__file__).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
)
"""Shifts the clock of a process below Python; the library's own module patches Python instead."""


class UnexpectedState(Exception):
    """An expected state was not reached; the text says what was found instead."""


@dataclass(frozen=True)
class Worker:
    """A worker and its files."""

    name: str
    child: Child
    log: Path
    """Contains one byte for each image that reached the model."""
    clock: Path
    """The offset of its clock in libfaketime's notation, such as `+600`; read every second.

    It has an effect only if the specification has clocks."""

    def runs(self) -> int:
        """Return how many images reached its model."""
        return self.log.stat().st_size

    def memory(self) -> int:
        """Return its resident memory in bytes, shared libraries included."""
        return int(psutil.Process(self.child.pid).memory_info().rss)


@dataclass(frozen=True, kw_only=True)
class ClusterSpec:
    """The specification of a cluster; faults with equal ones can share a cluster."""

    workers: int = 2
    concurrency: int = 2
    clocks: bool = False
    """Whether each worker has a clock of its own that can be set; this makes it slower."""
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables of the workers, which override the defaults."""
    environment: Callable[["Cluster"], dict[str, str]] | None = None
    """Returns further variables that are known only when the servers run."""


PLAIN: Final = ClusterSpec()


@dataclass
class Cluster:
    """Servers, proxies and workers; a context manager."""

    folder: Path
    spec: ClusterSpec
    workers: list[Worker] = field(default_factory=list)
    """The workers that should run, oldest first."""
    fault_end: float | None = None
    """When the fault ended, for an injector that then waits for the load."""
    _ended_workers: list[Worker] = field(default_factory=list)

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            self.stack = resources.enter_context(LocalStack(self.folder))
            self.broker = self.stack.start_broker(*PERSISTENT)
            self.s3_server = self.stack.start_s3()
            self.s3 = self.stack.s3()
            for bucket in _BUCKETS:
                self.s3.create_bucket(Bucket=bucket)
            put_pictures(self.s3, "photos", "in/", PICTURES)
            self.network = resources.enter_context(TcpProxy(_port(self.stack.broker_url)))
            self.store = resources.enter_context(S3Proxy(_port(self.stack.s3_url)))
            self.client = resources.enter_context(self.stack.client())
            self.server: redis.Redis = resources.enter_context(
                redis.Redis.from_url(self.stack.broker_url)
            )
            for _ in range(self.spec.workers):
                self.add_worker()
            self.wait_for_workers()
            self._held = resources.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The jobs that still run are not needed.
        self.stack.stop(grace=0)
        self._held.close()

    def add_worker(self, **variables: str) -> Worker:
        """Start a worker without waiting until it is ready."""
        number = len(self.workers) + len(self._ended_workers) + 1
        name = f"w{number}"
        log, clock = self.folder / f"{name}.runs", self.folder / f"{name}.clock"
        log.touch()
        clock.write_text("+0")
        environment = self.spec.environment(self) if self.spec.environment else {}
        child = self.stack.start_worker(
            app="benchmarks.standin",
            concurrency=self.spec.concurrency,
            **{
                "CUTWORK_BROKER_URL": f"redis://127.0.0.1:{self.network.port}/0",
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.store.port}",
                "AWS_SDK_UA_APP_ID": name,
                "CUTWORK_STANDIN": "deadly",
                "CUTWORK_STANDIN_SECONDS": "0.1",
                "CUTWORK_STANDIN_LOG": str(log),
                "CUTWORK_MODELS_FROM": "s3://models",
                "CUTWORK_MODEL_CACHE": str(self.folder / "models"),
                "CUTWORK_VISIBILITY_TIMEOUT": str(VISIBILITY_TIMEOUT),
                "CUTWORK_BROKER_TIMEOUT": str(BROKER_TIMEOUT),
                "CUTWORK_S3_READ_TIMEOUT": str(READ_TIMEOUT),
                **(_clock(clock) if self.spec.clocks else {}),
                **environment,
                **dict(self.spec.variables),
                **variables,
            },
        )
        worker = Worker(name, child, log, clock)
        self.workers.append(worker)
        return worker

    def wait_for_workers(self) -> None:
        """Replace workers that have ended, and wait until all take jobs."""
        for worker in [worker for worker in self.workers if not worker.child.running]:
            self.workers.remove(worker)
            self._ended_workers.append(worker)
        while len(self.workers) < self.spec.workers:
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
        """Send a worker a signal, wait for its end and replace it; return its exit status."""
        worker.child.signal(number)
        try:
            status = worker.child.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise UnexpectedState(f"{worker.name} still runs after {timeout:g} s") from error
        self.workers.remove(worker)
        self._ended_workers.append(worker)
        if replaced:
            self.add_worker()
        return status

    def unexpected_states(self) -> Iterator[str]:
        """Yield sentences about workers that ended or lost a thread without being killed."""
        for worker in self.workers:
            if not worker.child.running:
                yield f"{worker.name} ended unexpectedly, with status {worker.child.wait()}"
            elif "Exception in thread" in worker.child.log.read_text(errors="replace"):
                yield f"{worker.name} lost a thread"

    def find_worker(self, name: str) -> Worker:
        """Return the worker with this name."""
        return next(worker for worker in self.workers if worker.name == name)

    def runs(self) -> int:
        """Return how many images have reached the models of all workers."""
        return sum(worker.runs() for worker in (*self.workers, *self._ended_workers))

    def until_runs(self, count: int, *, timeout: float = GUARD_SECONDS) -> None:
        """Wait until `count` images have reached the models."""
        until(lambda: self.runs() >= count, f"{count} images that reach a model", timeout=timeout)

    def settle(self, *, timeout: float = 10) -> None:
        """Wait until the queue is empty and no delivery is unacknowledged."""
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
    """Wait until a condition is true and return its value, or raise `UnexpectedState`."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise UnexpectedState(f"expected within {timeout:g} s: {what}")
        time.sleep(0.01)
    return value


def stopped(pid: int) -> bool:
    """Return whether a process is stopped by a signal."""
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


def _clock(file: Path) -> dict[str, str]:
    """Return variables that make a process take its time from a file.

    Its threads then wait for each other in a busy loop, so only clock faults use this.
    """
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        # The shortest interval; 0 would read the file at every call.
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])
