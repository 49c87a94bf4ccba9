"""The time and memory of comparing a bucket with its outputs.

Every measurement is a process of its own against the stub: keys per second of both listings
together, and the peak memory of the process.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import boto3

from benchmarks.listing_stub import MISSING
from benchmarks.table import Row, show
from deploy.child import Child
from deploy.local import free_ports
from producer.contract.run import RunSpec
from producer.sync.listing.objects import list_objects, listing_client
from producer.sync.plan.listing_plan import listing_plan

_KEYS_A_SECOND: Final = 50_000
_MEGABYTES: Final = 150
_GROWTH: Final = 1.1
"""The largest growth at double size that counts as constant memory."""


class Measured(NamedTuple):
    """The result of one process."""

    keys: int
    seconds: float
    peak_mb: float

    @property
    def rate(self) -> float:
        """Keys per second."""
        return self.keys / self.seconds

    def __str__(self) -> str:
        return f"{self.rate:,.0f} keys/s, {self.peak_mb:.0f} MB"


def rows(*, count: int = 1_000_000, shaped: int = 200_000, compared: int = 50_000) -> list[Row]:
    """Measure every figure; about a minute at full size."""
    with _stub() as url:
        once, twice = (_measure(url, "plan", f"counter-{size}") for size in (count, 2 * count))
        result = [
            _planned("counters", once),
            _planned("counters", twice),
            Row(
                "memory at double size",
                f"{once.peak_mb:.0f} → {twice.peak_mb:.0f} MB",
                f"≤ ×{_GROWTH:g}",
                twice.peak_mb <= once.peak_mb * _GROWTH,
            ),
            *(
                _planned(shape, _measure(url, "plan", f"{shape}-{shaped}"))
                for shape in ("dates", "uuids")
            ),
        ]
        for what, name, size in (
            ("one listing, Cutwork", "list", shaped),
            ("one listing, obstore", "obstore", compared),
            ("one listing, boto3's paginator", "boto3", compared),
        ):
            measured = _measure(url, name, f"counter-{size}")
            result.append(Row(f"{what}, {measured.keys:,}", str(measured), "", None))
    return result


def _planned(what: str, measured: Measured) -> Row:
    return Row(
        f"plan of {what}, {measured.keys:,} keys in two listings",
        str(measured),
        f"≥ {_KEYS_A_SECOND:,} keys/s, < {_MEGABYTES} MB",
        measured.rate >= _KEYS_A_SECOND and measured.peak_mb < _MEGABYTES,
    )


@contextmanager
def _stub() -> Iterator[str]:
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.listing_stub", str(port)]
        child = Child("stub", command, log=Path(folder) / "stub.log")
        try:
            url = f"http://127.0.0.1:{port}"
            child.wait_until(lambda: _answers(port), timeout=20)
            yield url
        finally:
            child.stop(grace=0)


def _measure(url: str, name: str, bucket: str) -> Measured:
    env = {
        **os.environ,
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "stub",
        "AWS_SECRET_ACCESS_KEY": "stub",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-m", "benchmarks.planning", name, bucket]
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return Measured(*json.loads(done.stdout))


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _plan(bucket: str) -> int:
    """Return the keys of both listings; raise unless exactly the missing outputs are found."""
    spec = RunSpec(source=f"s3://{bucket}", image=f"s3://{bucket}-out")
    verdicts: Counter[str] = Counter()
    for step in listing_plan(spec, listing_client())(""):
        verdicts[step.verdict] += 1
    count = int(bucket.rpartition("-")[2])
    expected = {"send": count // MISSING, "current": count - count // MISSING}
    if verdicts != expected:
        raise RuntimeError(f"expected {expected}, found {dict(verdicts)}")
    return count + expected["current"]


def _list(bucket: str) -> int:
    return sum(1 for _ in list_objects(listing_client(), bucket=bucket, prefix=""))


def _boto3(bucket: str) -> int:
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return sum(len(page["Contents"]) for page in pages)


def _obstore(bucket: str) -> int:
    # Imported here, so that the other measurements do not include its memory.
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        bucket,
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    return sum(len(page) for page in obstore.list(store, chunk_size=1000))


_MEASUREMENTS: Final[dict[str, Callable[[str], int]]] = {
    "plan": _plan,
    "list": _list,
    "boto3": _boto3,
    "obstore": _obstore,
}


def _main(name: str, bucket: str) -> None:
    started = time.perf_counter()
    keys = _MEASUREMENTS[name](bucket)
    seconds = time.perf_counter() - started
    # Not getrusage: its maximum includes the process from which this one was forked.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps([keys, seconds, peak]))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _main(*sys.argv[1:])
    else:
        sys.exit(not show(rows()))
