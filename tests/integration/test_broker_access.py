"""Redis over TLS with restricted users: everything that is needed is allowed, and no more."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from kombu.exceptions import OperationalError
from redis.exceptions import NoPermissionError

from deploy.child import Child
from deploy.local import LocalStack
from producer import Client, Options
from producer.cli.doctor import examine
from producer.cli.exporter.figures import Figures
from producer.config.broker_url import failure_advice
from producer.contract.job import QUEUE
from producer.contract.run import RunSpec
from producer.store.ledger import Ledger
from producer.store.routes import Routes
from producer.store.runs import Batch
from tests.support.certificates import write_pair
from tests.support.jobs import job_of
from tests.support.patience import PATIENCE
from tests.support.runs import until
from tests.support.tls_front import tls_front

ROOT = Path(__file__).parents[2]
PASSWORDS = {
    "cutwork-producer": "producer's p@ss/w0rd?",
    "cutwork-worker": "worker's p@ss/w0rd?",
    "cutwork-exporter": "exporter's p@ss/w0rd?",
    "admin": "the-tests-own",
}
OFF = Options(enabled=False)
NEVER = [
    *("keys *", "flushall", "flushdb", "config get *", "eval 0 0", "acl list", "shutdown", "save"),
    *("monitor", "client list", "script flush", "replicaof no one", "scan 0"),
    *("get other", "set other 1", "lpush celery x", "subscribe other", "publish other x"),
]


@dataclass(frozen=True)
class Guarded:
    """A broker with users behind TLS, and the folder of the certificates."""

    stack: LocalStack
    port: int
    plain: str
    keys: Path

    def url(self, user: str, *, ca: str | None = "server") -> str:
        """Return the TLS URL of a user, which trusts the named certificate."""
        name, query = quote(PASSWORDS[user], safe=""), ""
        if ca is not None:
            query = f"?ssl_cert_reqs=required&ssl_ca_certs={self.keys / ca}.pem"
        return f"rediss://{user}:{name}@127.0.0.1:{self.port}/0{query}"

    def server(self, user: str) -> redis.Redis:
        """Return a connection as one of the users, without TLS."""
        return redis.Redis.from_url(
            self.plain, username=user, password=PASSWORDS[user], decode_responses=True
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    write_pair(folder, "server", host="127.0.0.1")
    write_pair(folder, "other", host="127.0.0.1")
    rules = (ROOT / "deploy" / "redis.acl").read_text() + "user admin on ~* &* +@all\n"
    for user, password in PASSWORDS.items():
        digest = hashlib.sha256(password.encode()).hexdigest()
        rules = rules.replace(f"user {user} on", f"user {user} on #{digest}")
    (folder / "users.acl").write_text(rules)
    with LocalStack(folder) as stack:
        stack.start_broker("--aclfile", str(folder / "users.acl"))
        plain = stack.broker_url
        port = int(plain.rpartition(":")[2].partition("/")[0])
        stack.start_s3()
        for bucket in ("photos", "cutouts"):
            stack.s3().create_bucket(Bucket=bucket)
        stack.s3().upload_file(str(photographs / "rocket.jpg"), "photos", "in/a.jpg")
        with tls_front(port, folder=folder, name="server") as front:
            guarded = Guarded(stack, front, plain, folder)
            stack.broker_url = guarded.url("cutwork-worker")
            yield guarded
            stack.stop()


@pytest.fixture(scope="module")
def worker(guarded: Guarded) -> Child:
    child = guarded.stack.start_worker(
        app="tests.support.verbose_worker", PYTHONPATH=str(ROOT), CUTWORK_MAX_ATTEMPTS="2"
    )
    guarded.stack.wait_for_worker(child)
    return child


@pytest.fixture
def producer(guarded: Guarded, worker: Child) -> Iterator[Client]:
    assert worker.running
    with Client(guarded.url("cutwork-producer")) as client:
        yield client


def command(guarded: Guarded, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "producer", *words],
        env=os.environ
        | guarded.stack.environment()
        | {"CUTWORK_BROKER_URL": guarded.url("cutwork-producer")},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_job_is_done_over_tls_by_restricted_users(producer: Client) -> None:
    outcome = producer.submit("s3://photos/in/a.jpg", image="s3://cutouts/a.png", options=OFF).wait(
        60
    )
    assert outcome.state == "done", outcome
    failing = producer.submit("s3://photos/none.jpg", image="s3://cutouts/b.png", options=OFF)
    assert failing.wait(PATIENCE).code == "source_not_found"
    until(lambda: producer.workers() == ["worker1@local"])
    assert (producer.status().waiting, producer.pending()) == (0, 0)


def test_a_bucket_is_synced_shown_and_cancelled(
    producer: Client, guarded: Guarded, tmp_path: Path
) -> None:
    synced = command(
        *(guarded, "sync", "s3://photos/in/", "s3://cutouts/out/", "--no-enabled"),
        folder=tmp_path,
    )
    assert synced.returncode == 0, synced.stdout + synced.stderr
    assert "1 done" in synced.stdout
    (run,) = producer.runs.runs()
    assert producer.runs.record(run.id).counts.done == 1
    assert producer.runs.failures(run.id, start=0) == []
    assert producer.server()[1] == "noeviction"
    refused = command(guarded, "cancel", run.id, folder=tmp_path)
    assert "is already finished" in refused.stderr


def test_a_restricted_producer_cancels_a_job_and_one_of_a_run(producer: Client) -> None:
    job = job_of(0)
    producer._ledger.add_pending(job)
    assert producer.cancel(job.id)
    assert producer.handle(job.id).wait(PATIENCE).state == "cancelled"
    spec = RunSpec(source="s3://photos/cancel/", image="s3://cutouts/b/")
    run = producer.runs.begin(spec, command="")
    of_run = job.model_copy(update={"id": f"{run}.1"})
    counts = {"sent": 1, "seen": 1}
    producer.runs.commit_batch(run, Batch(cursor="x", jobs=[of_run], counts=counts), before="")
    assert producer.cancel(of_run.id)
    assert producer.runs.record(run).counts.cancelled == 1
    producer.runs.end(run, "cancelled")


def test_hostile_entries_do_not_end_a_restricted_worker(
    producer: Client, guarded: Guarded, worker: Child
) -> None:
    before = worker.log.stat().st_size
    with guarded.server("cutwork-producer") as server:
        for headers in ({"task": "no.such.task", "id": "x"}, {"task": "celery.accumulate"}):
            server.lpush(QUEUE, json.dumps({"headers": headers, "properties": {}, "body": "e30="}))
    worker.wait_until(
        lambda: worker.log.read_text(errors="replace")[before:].count("refused a queue entry") == 2,
        timeout=PATIENCE,
    )
    until(lambda: producer.workers() == ["worker1@local"])


def test_the_exporter_may_read_everything_it_needs(producer: Client, guarded: Guarded) -> None:
    routes = Routes.from_app(producer.app)
    ledger = Ledger(guarded.url("cutwork-exporter"))
    producer.runs.begin(RunSpec(source="s3://photos/a/", image="s3://cutouts/b/"), command="")
    figures = Figures.read(ledger, routes, images_per_second=1)
    assert (figures.backlog, figures.pending) == ({QUEUE: 0}, 0)
    assert sum(figures.runs.values()) == len(producer.runs.runs())


def rules_of(server: redis.Redis, user: str) -> set[str]:
    """Return the commands that the server allows a user."""
    facts: Any = server.acl_getuser(user)
    return {word[1:] for word in facts["commands"] if word.startswith("+")}


def test_nothing_was_refused_and_nothing_more_is_allowed(
    producer: Client, guarded: Guarded
) -> None:
    """Runs last: each allowed command was used, or is listed here with a reason."""
    with guarded.server("admin") as admin:
        # redis-py tells the server its own name, which Redis 7.0 does not know and nothing needs.
        denied = [entry for entry in admin.acl_log() if entry["reason"] != "auth"]
        assert [entry for entry in denied if entry["object"] != "client|setinfo"] == []
        used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
        allowed = set().union(*(rules_of(admin, name) for name in PASSWORDS if name != "admin"))
    seldom = {
        *("select", "discard", "unwatch"),  # another database; an abandoned transaction
        *("exists", "hscan", "hstrlen", "rpush"),  # delivered twice, lost, requeued
        "punsubscribe",  # at the end
    }
    assert allowed - used <= seldom


@pytest.mark.parametrize("words", NEVER)
@pytest.mark.parametrize("user", ["cutwork-producer", "cutwork-worker", "cutwork-exporter"])
def test_what_is_not_needed_is_refused(guarded: Guarded, user: str, words: str) -> None:
    with guarded.server(user) as server, pytest.raises(NoPermissionError):
        server.execute_command(*words.split())


def test_a_producer_can_neither_consume_nor_subscribe(guarded: Guarded) -> None:
    with guarded.server("cutwork-producer") as server:
        for words in (
            ("BRPOP", QUEUE, 1),
            ("PSUBSCRIBE", "/0.celery.pidbox"),
            ("XADD", "x", "*", "y", "z"),
        ):
            with pytest.raises(NoPermissionError):
                server.execute_command(*words)


@pytest.mark.parametrize(
    "words", ["hset cutwork:rates a b", "lpush cutwork.default x", "del unacked"]
)
def test_an_exporter_writes_nothing(guarded: Guarded, words: str) -> None:
    with guarded.server("cutwork-exporter") as server, pytest.raises(NoPermissionError):
        server.execute_command(*words.split())


def test_redis_7_0_knows_every_command_of_the_rights(guarded: Guarded) -> None:
    """A server does not start with an ACL that names a command that it does not know."""
    rules = (ROOT / "deploy" / "redis.acl").read_text()
    names = sorted(set(re.findall(r"\+([a-z|]+)", rules)))
    with guarded.server("admin") as admin:
        del admin.response_callbacks["COMMAND"]
        for name in names:
            reply: Any = admin.execute_command("COMMAND", "DOCS", name)
            since = pairs(pairs(reply)[name])["since"]
            assert tuple(map(int, since.split("."))) <= (7, 0, 0), name


def pairs(reply: Any) -> dict[str, Any]:
    """Return a mapping, which RESP2 sends as a list of keys and values."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def test_other_users_are_refused(guarded: Guarded) -> None:
    with redis.Redis.from_url(guarded.plain) as server, pytest.raises(redis.AuthenticationError):
        server.ping()
    wrong = guarded.url("cutwork-producer").replace("producer%27s", "another")
    with redis.Redis.from_url(wrong) as server, pytest.raises(redis.AuthenticationError):
        server.ping()


def assert_refused(url: str, sentence: str) -> None:
    """Both libraries refuse the server: redis writes the ledger, kombu sends messages."""
    with Client(url) as client:
        with pytest.raises(OperationalError, match=sentence):
            client.app.connection().ensure_connection(max_retries=0)
        with (
            redis.Redis.from_url(client.broker_url) as server,
            pytest.raises(redis.ConnectionError, match=sentence) as caught,
        ):
            server.ping()
    assert "add ?ssl_ca_certs=FILE" in failure_advice(caught.value)


@pytest.mark.parametrize("ca", [None, "other"])
def test_a_server_with_an_unknown_certificate_is_refused(guarded: Guarded, ca: str | None) -> None:
    assert_refused(guarded.url("cutwork-producer", ca=ca), "CERTIFICATE_VERIFY_FAILED")


def test_a_certificate_for_another_host_is_refused(guarded: Guarded, tmp_path: Path) -> None:
    write_pair(tmp_path, "elsewhere", host="broker.example")
    port = int(guarded.plain.rpartition(":")[2].partition("/")[0])
    with tls_front(port, folder=tmp_path, name="elsewhere") as front:
        url = f"rediss://127.0.0.1:{front}/0?ssl_ca_certs={tmp_path / 'elsewhere.pem'}"
        assert_refused(url, "IP address mismatch")


def test_the_logs_hold_no_credentials(guarded: Guarded, worker: Child) -> None:
    """Includes everything that boto3, urllib3, kombu and redis log at debug level."""
    log = worker.log.read_text(errors="replace")
    assert "botocore" in log
    assert "Signature=***" in log
    secrets = [guarded.stack.environment()["AWS_SECRET_ACCESS_KEY"], *PASSWORDS.values()]
    for secret in (*secrets, *(quote(secret, safe="") for secret in secrets)):
        assert secret not in log
    assert guarded.stack.environment()["AWS_ACCESS_KEY_ID"] not in log
    assert re.search(r"(?i)signature[=:]\s*[0-9a-f]{64}", log) is None


def test_doctor_says_that_the_broker_refuses_the_question_about_workers(idle: Client) -> None:
    server = idle.runs.server
    server.acl_setuser("mute", enabled=True, passwords=["+secret"], keys=["*"],
        categories=["+@all"], commands=["-ping"])  # fmt: skip
    try:
        url = idle.broker_url.replace("redis://", "redis://mute:secret@")
        with Client(url) as client:
            broker, workers = islice(examine(client, read=[], write=[]), 2)
    finally:
        server.acl_deluser("mute")
    assert (broker.ok, workers.what, workers.ok) == (True, "workers", False)
    assert "refuses" in workers.text
