"""Check what a producer needs: broker, workers, buckets, and a local worker installation."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from botocore.exceptions import BotoCoreError, ClientError

from producer.client import BrokerUnavailable, Client
from producer.config.s3_client import open_s3
from producer.config.s3_round_trip import round_trip
from producer.config.s3_settings import S3Settings
from producer.console.findings import Finding
from producer.contract.s3_prefix import S3Prefix
from producer.contract.validation_errors import hide_password
from producer.sync.listing.objects import fetch_page, listing_client

_S3_ADVICE = (
    "check AWS_ENDPOINT_URL, AWS_PROFILE or the access keys, that the bucket exists, and that its "
    "policy allows these credentials"
)


def examine(client: Client, *, read: Sequence[str], write: Sequence[str]) -> Iterator[Finding]:
    """Run every check in turn; `read` and `write` hold prefixes, `s3://bucket/prefix`."""
    broker = _broker(client)
    yield broker
    if broker.ok:
        yield from _workers_and_queues(client)
    if not read and not write:
        advice = "name buckets: `cutwork doctor s3://in --write s3://out`"
        yield Finding("S3", None, f"not checked; {advice}")
    yield from (_s3(uri, is_writing=False) for uri in read)
    yield from (_s3(uri, is_writing=True) for uri in write)
    yield from _local_worker()


def local_worker() -> bool:
    """Return whether a package that only workers need is installed here."""
    return find_spec("onnxruntime") is not None


def _broker(client: Client) -> Finding:
    url = hide_password(client.broker_url)
    try:
        version, eviction = client.server()
    except BrokerUnavailable as error:
        return Finding("broker", False, str(error))
    if eviction != "noeviction":
        advice = "set maxmemory-policy noeviction, otherwise a full server drops jobs"
        return Finding("broker", False, f"{url} has maxmemory-policy {eviction}; {advice}")
    return Finding("broker", True, f"{url} answers, version {version}")


def _workers_and_queues(client: Client) -> Iterator[Finding]:
    try:
        workers = _workers(client)
        yield workers
        if workers.ok:
            yield from _queues(client)
    except BrokerUnavailable as error:  # It may refuse these commands only, or be gone meanwhile.
        yield Finding("workers", False, str(error))


def _workers(client: Client) -> Finding:
    if names := client.workers():
        return Finding("workers", True, ", ".join(names))
    command = (
        "celery -A worker worker --loglevel INFO --without-gossip --without-mingle "
        "--without-heartbeat"
    )
    return Finding("workers", False, f"none responded; start one with `{command}`")


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


def _s3(uri: str, *, is_writing: bool) -> Finding:
    what = f"S3 {'write' if is_writing else 'read'} {uri}"
    try:
        bucket, prefix = S3Prefix.parse(uri)
        if is_writing:
            s3 = open_s3(S3Settings.read(), attempts=2, read_timeout=10)
            deviations = round_trip(s3, bucket=bucket, prefix=prefix)
            ok = all(deviation.is_harmless for deviation in deviations)
            good = ["an object was written, read, copied and listed"] if ok else []
            sentences = [f"{part}: {sentence}" for part, sentence in deviations]
            return Finding(what, ok, "; ".join([*good, *sentences]))
        page = fetch_page(
            listing_client(for_sources=True, attempts=2), bucket=bucket, prefix=prefix, size=1
        )
    except ValueError as error:  # of the URI, a setting or a listing; it says what to do
        return Finding(what, False, str(error))
    except (BotoCoreError, ClientError) as error:
        return Finding(what, False, f"{error}; {_S3_ADVICE}")
    return Finding(what, True, "listed" if page.entries else "listed; it is empty")


def _local_worker() -> Iterator[Finding]:
    # A separate process: the producer never imports the worker or its dependencies.
    if not local_worker():
        yield Finding("worker here", None, "not installed; this machine can only enqueue")
        return
    command = [sys.executable, "-m", "worker", "doctor", "--json"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except subprocess.TimeoutExpired:
        problem = "did not finish within two minutes"
        yield Finding("worker here", False, f"`{' '.join(command[1:])}` {problem}")
        return
    try:
        yield from (Finding(**finding) for finding in json.loads(process.stdout))
    except (ValueError, TypeError):
        problem = f"failed: {process.stderr[-500:]}"
        yield Finding("worker here", False, f"`{' '.join(command[1:])}` {problem}")
