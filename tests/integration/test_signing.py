"""Signed messages and a real worker: it accepts only those signed by a key of its store."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery, chain, signature
from celery.security.certificate import Certificate, CertStore
from celery.security.key import PrivateKey
from celery.security.serialization import SecureSerializer
from kombu.utils.encoding import ensure_bytes

from deploy.child import Child
from deploy.local import LocalStack, free_ports
from producer import Client, Job, Options
from producer.contract.job import QUEUE, TASK_NAME
from producer.contract.run import RunSpec
from producer.store.ledger import Ledger
from producer.store.publish import publish
from tests.support.messages import message
from tests.support.patience import PATIENCE
from tests.support.runs import until
from tests.support.signing_keys import signing_variables, write_signing_keys

SIGNED = {"content-type": "application/data", "content-encoding": "utf-8"}
PLACES = {"source": "s3://any/a.jpg", "image": "s3://elsewhere/a.png"}
"""Without S3 the worker records `forbidden`: an accepted message has an outcome."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_signing_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("signing")) as stack:
        stack.start_broker()
        stack.s3_url = f"http://127.0.0.1:{free_ports(1)[0]}"
        yield stack


@pytest.fixture(scope="module")
def verifier(guarded: LocalStack, keys: Path) -> Child:
    """A worker that signs, and accepts messages signed by the keys of the store."""
    child = guarded.start_worker(
        concurrency=2,
        app="worker",
        **signing_variables(keys, "worker"),
        CUTWORK_WRITE_TO="s3://allowed",
        CUTWORK_S3_ATTEMPTS="1",
        CUTWORK_VISIBILITY_TIMEOUT="10",
    )
    guarded.wait_for_worker(child)
    return child


@pytest.fixture
def signer(
    guarded: LocalStack, verifier: Child, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    assert verifier.running
    for name, value in signing_variables(keys, "producer").items():
        monkeypatch.setenv(name, value)
    with guarded.client() as client:
        yield client


def signed(keys: Path, name: str, body: list[Any]) -> bytes:
    """A body signed by one of the keys, as Celery does it."""
    key = PrivateKey((keys / f"{name}.key").read_text())
    certificate = Certificate((keys / f"{name}.pem").read_text())
    # Celery's function returns text; its stubs say otherwise.
    return ensure_bytes(SecureSerializer(key, certificate, CertStore()).serialize(body))


def body_of(job: Job) -> list[Any]:
    return [[job.to_message()], {}, {}]


def new_job(**values: Any) -> Job:
    return Job.model_validate({**PLACES, **values})


def assert_refused(stack: LocalStack, worker: Child, entry: str, *, sentence: str) -> str:
    """Push an entry; the worker removes it, logs that, holds no message, and keeps running."""
    before = worker.log.stat().st_size

    def log_tail() -> str:
        return worker.log.read_text(errors="replace")[before:]

    with redis.Redis.from_url(stack.broker_url) as server:
        server.lpush(QUEUE, entry)
        worker.wait_until(lambda: sentence in log_tail(), timeout=PATIENCE)
        worker.wait_until(
            lambda: not server.llen(QUEUE) and not server.zcard("unacked_index"), timeout=PATIENCE
        )
    return log_tail()


def test_signed_jobs_of_every_kind_are_done(signer: Client) -> None:
    single = signer.submit(PLACES["source"], image=PLACES["image"])
    assert single.wait(PATIENCE).code == "forbidden"
    several = signer.submit_many([new_job(), new_job()])
    assert [outcome.code for _, outcome in signer.as_completed(several, timeout=PATIENCE)] == 2 * [
        "forbidden"
    ]
    of_a_run = new_job()
    publish(signer.app, [of_a_run])
    assert signer.handle(of_a_run).wait(PATIENCE).code == "forbidden"


def test_a_retry_is_signed_by_the_worker(signer: Client, verifier: Child) -> None:
    handle = signer.submit(
        PLACES["source"], image="s3://allowed/a.png", options=Options(enabled=False)
    )
    line = f"job {handle.id}, attempt 2: storage_unavailable"
    verifier.wait_until(lambda: line in verifier.tail(100_000), timeout=PATIENCE)


def test_a_canvas_is_signed_with_the_job_s_id(signer: Client) -> None:
    job = new_job()
    cut = signature(TASK_NAME, args=[job.to_message()], queue=QUEUE, task_id=job.id, app=signer.app)
    after = signature("shop.publish", queue="shop", app=signer.app)
    chain(cut, after, app=signer.app).apply_async()
    assert signer.handle(job).wait(PATIENCE).code == "forbidden"


def test_workers_answer_only_a_signed_ping(
    signer: Client, guarded: LocalStack, verifier: Child
) -> None:
    until(lambda: signer.workers() == ["worker1@local"])
    unsigned = Celery("service", broker=guarded.broker_url, set_as_current=False)
    with unsigned:
        assert unsigned.control.ping(timeout=0.5) == []
        unsigned.control.shutdown()
    until(lambda: signer.workers() == ["worker1@local"])


def test_status_reads_the_age_of_signed_jobs(
    guarded: LocalStack, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in signing_variables(keys, "producer").items():
        monkeypatch.setenv(name, value)
    with Client(guarded.broker_url.removesuffix("/0") + "/1") as client:
        client.submit_many([new_job(submitted_at=time.time() - 100)])
        status = client.status()
    assert status.waiting == 1
    assert status.oldest_waiting is not None
    assert status.oldest_waiting >= 100


@pytest.mark.parametrize("name", ["stranger", "late"])
def test_an_unknown_or_expired_key_is_refused(
    name: str, guarded: LocalStack, verifier: Child, keys: Path
) -> None:
    job = new_job()
    data = signed(keys, name, body_of(job))
    entry = message(None, raw=data, headers={"id": job.id}, top=SIGNED)
    log_tail = assert_refused(guarded, verifier, entry, sentence=job.id)
    assert {"stranger": "Unknown certificate", "late": "Expired certificate"}[name] in log_tail


def _another_body(packed: bytes) -> bytes:
    head, body = packed.rsplit(b"\0\1", 1)
    return head + b"\0\1" + body.replace(b"elsewhere", b"somewhere")


def _utf_7(packed: bytes) -> bytes:
    return packed.replace(b"\0\1utf-8\0\1", b"\0\1utf-7\0\1")


def _pickle(packed: bytes) -> bytes:
    return packed.replace(b"application/json", b"application/x-python-serialize")


def _nothing(_: bytes) -> bytes:
    return b""


def _broken(packed: bytes) -> bytes:
    return packed[:40]


@pytest.mark.parametrize("change", [_another_body, _utf_7, _pickle, _nothing, _broken])
def test_a_message_changed_after_signing_is_refused(
    change: Callable[[bytes], bytes], guarded: LocalStack, verifier: Child, keys: Path
) -> None:
    job = new_job()
    packed = base64.b64decode(signed(keys, "producer", body_of(job)))
    entry = message(None, raw=base64.b64encode(change(packed)), headers={"id": job.id}, top=SIGNED)
    assert_refused(guarded, verifier, entry, sentence=job.id)


@pytest.mark.parametrize("content_type", ["application/json", "application/text", "text/plain"])
def test_an_unsigned_job_is_refused(
    content_type: str, guarded: LocalStack, verifier: Child
) -> None:
    job = new_job()
    entry = message(body_of(job), headers={"id": job.id}, top={"content-type": content_type})
    assert_refused(guarded, verifier, entry, sentence=job.id)


def test_a_signed_body_under_another_id_is_refused(
    guarded: LocalStack, verifier: Child, keys: Path
) -> None:
    job, victim = new_job(), new_job()
    data = signed(keys, "producer", body_of(job))
    entry = message(None, raw=data, headers={"id": victim.id}, top=SIGNED)
    log_tail = assert_refused(
        guarded, verifier, entry, sentence="headers.id: expected the signed job's"
    )
    assert victim.id in log_tail
    with guarded.client() as client:
        assert client.handle(victim).outcome() is None


def test_a_signed_body_without_a_job_ends_no_job(
    guarded: LocalStack, verifier: Child, keys: Path
) -> None:
    victim = new_job()
    for arguments in (["a stranger's task"], []):
        body: list[Any] = [arguments, {}, {}]
        data = signed(keys, "producer", body)
        entry = message(None, raw=data, headers={"id": victim.id}, top=SIGNED)
        assert_refused(guarded, verifier, entry, sentence=victim.id)
    with guarded.client() as client:
        assert client.handle(victim).outcome() is None


def test_a_lost_job_is_sent_again_if_it_was_signed(
    signer: Client, guarded: LocalStack, verifier: Child
) -> None:
    """Recovery does not sign texts that other programs wrote into the ledger."""
    job, forged, moved = new_job(), new_job(), new_job()
    of_a_run = new_job(id="20261122-081500-3fa9c1.forged")
    ledger = Ledger(guarded.broker_url, signed=True)
    server = ledger.redis
    ledger.add_pending(job)
    for name, text in (
        (forged.id, json.dumps(forged.to_message())),
        (moved.id, str(server.hget("cutwork:pending:jobs", job.id))),
    ):
        server.hset("cutwork:pending:jobs", name, text)
    server.zadd("cutwork:pending", {job.id: 1, forged.id: 1, moved.id: 1})
    run = "cutwork:run:20261122-081500-3fa9c1"
    spec = RunSpec(source="s3://a/", image="s3://b/").model_dump_json()
    server.hset(run, mapping={"state": "running", "spec": spec, "created_at": 1})
    server.zadd("cutwork:runs", {run.rpartition(":")[2]: 1})
    server.hset(f"{run}:jobs", of_a_run.id, json.dumps({**of_a_run.to_message(), "signed": "e30="}))
    assert signer.handle(job).wait(PATIENCE).code == "forbidden"
    assert_refused = {
        f"job {name} cannot be sent again" for name in (forged.id, moved.id, of_a_run.id)
    }
    verifier.wait_until(
        lambda: all(sentence in verifier.tail(100_000) for sentence in assert_refused),
        timeout=PATIENCE,
    )
    assert ledger.read_outcomes([forged.id, moved.id]) == {}
    assert server.hget(run, "count:failed") is None
    server.delete(run, f"{run}:jobs")
    ledger.discard_pending(forged, moved)
    ledger.close()


BROADCASTS: dict[str, Any] = {
    "no message": {},
    "a list": [],
    "a number": 42,
    "no properties": {"body": "e30=", "headers": {}},
    "compressed": json.loads(message({}, headers={"compression": "gzip"})),
    "unsigned": json.loads(message({"method": "shutdown"})),
}


@pytest.mark.parametrize("broadcast", BROADCASTS.values(), ids=BROADCASTS)
def test_a_hostile_broadcast_is_refused(
    broadcast: Any, guarded: LocalStack, verifier: Child
) -> None:
    before = verifier.log.stat().st_size
    with redis.Redis.from_url(guarded.broker_url) as server:
        assert server.publish("/0.celery.pidbox", json.dumps(broadcast)) == 1
    verifier.wait_until(lambda: verifier.log.stat().st_size > before, timeout=PATIENCE)


def test_the_worker_still_works_after_all_refusals(signer: Client, verifier: Child) -> None:
    outcome = signer.submit(PLACES["source"], image=PLACES["image"]).wait(PATIENCE)
    assert outcome.code == "forbidden"
    until(lambda: signer.workers() == ["worker1@local"])


def test_signing_does_not_affect_other_apps_of_the_process(keys: Path) -> None:
    code = (
        "from celery import Celery; from producer import Client; from kombu import serialization;"
        "Client(); app = Celery('service');"
        "print(serialization.dumps([1])[0], app.conf.task_serializer, app.conf.accept_content)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **signing_variables(keys, "producer")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["application/json", "json", "('json',)"]
