"""A Ceph cluster of one monitor, one object store in memory and one RADOS gateway.

Needs Debian's packages `radosgw`, `ceph-mon` and `ceph-osd`.
"""

import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deploy.child import Child
from deploy.local import free_ports

_PROGRAMS: Final = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "monmaptool")
_SECONDS: Final = 120


def ceph_version() -> str | None:
    """Return the version of Ceph; None if it is not installed."""
    if not all(map(shutil.which, _PROGRAMS)):
        return None
    text = subprocess.run(["radosgw", "--version"], capture_output=True, text=True, check=True)
    return text.stdout.split()[2]


def start_ceph(
    folder: Path, port: int, keys: tuple[str, str], *, start: Callable[..., Child]
) -> Child:
    """Start a cluster without authentication of its own, and return the gateway's process."""
    config = folder / "ceph.conf"
    monitor = free_ports(1)[0]
    config.write_text(
        f"""[global]
fsid = {uuid.uuid4()}
mon host = v1:127.0.0.1:{monitor}
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
mon osd down out interval = 0
osd objectstore = memstore
memstore device bytes = 1073741824
run dir = {folder}
log file = {folder}/$name.log
admin socket = {folder}/$name.asok
mon data = {folder}/$name
osd data = {folder}/$name
rgw data = {folder}/$name
rgw frontends = beast endpoint=127.0.0.1:{port}
"""
    )
    common = ("-c", str(config), "--setuser", "root", "--setgroup", "root")

    def run(*command: str) -> str:
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_SECONDS
        ).stdout

    monmap = folder / "monmap"
    address = f"[v1:127.0.0.1:{monitor}]"
    run("monmaptool", "--create", "--addv", "a", address, str(monmap))
    (folder / "mon.a").mkdir()
    run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(monmap), *common)
    start("mon", ["ceph-mon", "-f", "-i", "a", *common])
    admin = ("ceph", "-c", str(config), "--connect-timeout", "60")
    run(*admin, "osd", "create")
    (folder / "osd.0").mkdir()
    run("ceph-osd", "--mkfs", "-i", "0", *common)
    start("osd", ["ceph-osd", "-f", "-i", "0", *common])
    user = ("--uid", "cutwork", "--display-name", "cutwork")
    key, secret = keys
    run(
        *("radosgw-admin", "-c", str(config), "user", "create", *user),
        *("--access-key", key, "--secret", secret),
    )
    return start("rgw", ["radosgw", "-f", "-n", "client.rgw", *common])
