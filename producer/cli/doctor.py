"""Check what a producer needs: broker, workers, buckets, and a local worker installation."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

import boto3
import redis
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from producer.client import Client
from producer.config.broker_url import failure_advice, failure_verb
from producer.console.findings import Finding
from producer.contract.validation_errors import hide_password

_S3_ADVICE = (
    "check AWS_ENDPOINT_URL, AWS_PROFILE or the access keys, that the bucket exists, and that its "
    "policy allows these credentials"
)


def examine(client: Client, *, read: Sequence[str], write: Sequence[str]) -> Iterator[Finding]:
    """Run every check in turn; `read` and `write` hold prefixes, `s3://bucket/prefix`."""
    broker = _broker(client)
    yield broker
    if broker.ok:
        workers = _workers(client)
        yield workers
        if workers.ok:
            yield from _queues(client)
    if not read and not write:
        yield Finding(
            "S3", True, "not checked; name buckets: `cutwork doctor s3://in --write s3://out`"
        )
    for place in read:
        yield _s3(place, writing=False)
    for place in write:
        yield _s3(place, writing=True)
    yield from _local_worker()


def local_worker() -> bool:
    """Whether a worker is installed here: whether a package that only workers need is found."""
    return find_spec("onnxruntime") is not None


def _broker(client: Client) -> Finding:
    url = hide_password(client.broker_url)
    try:
        version, eviction = client.server()
    except redis.RedisError as error:
        return Finding(
            "broker", False, f"{url} {failure_verb(error)} ({error}); {failure_advice(error)}"
        )
    if eviction != "noeviction":
        sentence = "set maxmemory-policy noeviction, otherwise a full server drops jobs"
        return Finding("broker", False, f"{url} has maxmemory-policy {eviction}; {sentence}")
    return Finding("broker", True, f"{url} answers, version {version}")


def _workers(client: Client) -> Finding:
    names = client.workers()
    if names:
        return Finding("workers", True, ", ".join(names))
    return Finding(
        "workers",
        False,
        "none responded; start one with `celery -A worker worker --loglevel INFO "
        "--without-gossip --without-mingle`",
    )


def _queues(client: Client) -> Iterator[Finding]:
    """Yield a finding for each queue that no worker consumes."""
    served = client.served_queues()
    orphans = [name for name in client.queues if name not in served]
    for name in orphans:
        yield Finding(
            f"queue {name}",
            False,
            "no worker consumes it, so its jobs wait; start a worker that does (see the docs on "
            "pools), or remove its class or tenant from CUTWORK_CLASSES or CUTWORK_TENANTS",
        )
    if not orphans:
        yield Finding("queues", True, f"workers consume {', '.join(client.queues)}")


def _s3(place: str, *, writing: bool) -> Finding:
    what = f"S3 {'write' if writing else 'read'} {place}"
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    if not place.startswith("s3://") or not bucket:
        return Finding(what, False, "expected s3://bucket or s3://bucket/prefix")
    config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
    try:
        s3 = boto3.client("s3", config=config)
        if writing:
            key = f"{prefix.rstrip('/')}/cutwork-doctor-{uuid.uuid4().hex}".lstrip("/")
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
            s3.delete_object(Bucket=bucket, Key=key)
            return Finding(what, True, "an empty object was written and removed")
        found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except (BotoCoreError, ClientError, ValueError) as error:
        return Finding(what, False, f"{error}; {_S3_ADVICE}")
    return Finding(what, True, "listed" if found["KeyCount"] else "listed; it is empty")


def _local_worker() -> Iterator[Finding]:
    # A separate process: the producer never imports the worker or its dependencies.
    if not local_worker():
        yield Finding("worker here", True, "not installed; this machine can only enqueue")
        return
    command = [sys.executable, "-m", "worker", "doctor", "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except subprocess.TimeoutExpired:
        yield Finding(
            "worker here", False, f"`{' '.join(command[1:])}` did not finish within two minutes"
        )
        return
    try:
        yield from (Finding(**item) for item in json.loads(done.stdout))
    except (ValueError, TypeError):
        yield Finding(
            "worker here", False, f"`{' '.join(command[1:])}` failed: {done.stderr[-500:]}"
        )
