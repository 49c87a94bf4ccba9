"""Celery's own tools and canvases, on one worker with task events and another result backend."""

import base64
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis
from celery import Celery, chain, chord, group
from kombu.utils.json import loads

from deploy.child import Child
from deploy.local import LocalStack, free_ports
from producer import Client, Job, Options
from producer.contract.job import QUEUE
from producer.store.ledger import Ledger
from tests.support.patience import PATIENCE

NODE = "worker1@local"


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A broker without S3: jobs end with `forbidden` before an image is read."""
    with LocalStack(tmp_path_factory.mktemp("tools")) as stack:
        stack.start_broker()
        stack.s3_url = f"http://127.0.0.1:{free_ports(1)[0]}"
        yield stack


@pytest.fixture(scope="module")
def own_worker(own_stack: LocalStack) -> Child:
    """A worker with `-E` for Flower and `-c` for its threads."""
    child = own_stack.start_worker(
        *("-E", "-c", "3"),
        CUTWORK_WRITE_TO="s3://allowed",
        CUTWORK_RESULT_BACKEND=backend_url(own_stack),
    )
    own_stack.wait_for_worker(child)
    return child


@pytest.fixture(scope="module")
def client(own_stack: LocalStack, own_worker: Child) -> Iterator[Client]:
    assert own_worker.running
    with own_stack.client() as client:
        yield client


@pytest.fixture(scope="module")
def service(own_stack: LocalStack, own_worker: Child) -> Iterator[Celery]:
    """An app as a service has it, with the result backend of the worker."""
    assert own_worker.running
    app = Celery(
        "service",
        broker=own_stack.broker_url,
        backend=backend_url(own_stack),
        set_as_current=False,
    )
    app.conf.broker_transport_options = {"sep": ":", "priority_steps": [0, 3, 6, 9]}
    yield app
    app.close()


@pytest.fixture(scope="module")
def flower(own_stack: LocalStack, own_worker: Child, tmp_path_factory: Any) -> Iterator[str]:
    """The URL of a running Flower."""
    assert own_worker.running
    (port,) = free_ports(1)
    child = Child(
        "flower",
        [
            *(sys.executable, "-m", "celery", "-A", "worker", "flower", "--address=127.0.0.1"),
            f"--port={port}",
        ],
        log=tmp_path_factory.mktemp("flower") / "flower.log",
        env=os.environ | own_stack.environment() | {"FLOWER_UNAUTHENTICATED_API": "true"},
    )
    try:
        child.wait_until(lambda: b"Visit me at" in child.log.read_bytes(), timeout=PATIENCE)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.stop(grace=0)


def backend_url(stack: LocalStack) -> str:
    return stack.broker_url.removesuffix("/0") + "/9"


def new_job(**fields: str) -> Job:
    values = {"source": "s3://any/a.jpg", "image": "s3://forbidden/a.png"} | fields
    return Job.model_validate(values | {"options": Options(enabled=False)})


def cut(app: Celery, job: Job, **options: Any) -> Any:
    """Return the signature of a job for a canvas."""
    options = {"queue": QUEUE, "task_id": job.id} | options
    return app.signature("cutwork.segment", args=[job.to_message()], **options)


def outcome_of(stack: LocalStack, job_id: str) -> Any:
    return Ledger(stack.broker_url).read_outcomes([job_id], wait=PATIENCE)[job_id]


def wait_until_nothing_is_held(client: Client) -> None:
    deadline = time.monotonic() + PATIENCE
    while client.status().in_flight:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def next_message(client: Client, queue: str) -> dict[str, Any]:
    """Return the headers and the body of the next message that the worker sends to a service."""
    entry: Any = client.runs.server.brpop([queue], timeout=PATIENCE)
    message = json.loads(entry[1])
    body = loads(base64.b64decode(message["body"]))
    return {"headers": message["headers"], "args": body[0], "embed": body[2]}


def test_celery_s_command_reaches_the_worker(
    own_stack: LocalStack, client: Client, service: Celery
) -> None:
    job = new_job()
    command = [sys.executable, "-m", "celery", "-A", "worker", "control", "revoke", job.id]
    env = os.environ | own_stack.environment()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{NODE}: OK" in done.stdout
    client.submit_many([job])
    outcome = outcome_of(own_stack, job.id)
    assert (outcome.state, outcome.code) == ("cancelled", None)
    assert outcome.message == "did not begin: Celery's revoke named this job"
    stats = service.control.inspect(timeout=PATIENCE, limit=1).stats()
    assert stats
    assert stats[NODE]["pool"]["max-concurrency"] == 3, "-c counts"


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("pool_grow", {"n": 1}, "CUTWORK_CONCURRENCY"),
        ("pool_shrink", {"n": 1}, "CUTWORK_CONCURRENCY"),
        ("autoscale", {"max": 3, "min": 1}, "scale the number of workers"),
        ("pool_restart", {}, "celery control shutdown"),
        ("add_consumer", {"queue": "shop"}, "CUTWORK_TAKES"),
        ("time_limit", {"task_name": "cutwork.segment", "hard": 1}, "CUTWORK_STAGE_TIMEOUT"),
        ("revoke", {"task_id": "unknown", "terminate": True}, "runs to its end"),
        ("terminate", {"task_id": "unknown", "signal": "KILL"}, "runs to its end"),
    ],
)
def test_a_command_that_cannot_be_served_says_what_to_use(
    command: str, arguments: dict[str, Any], words: str, service: Celery
) -> None:
    replies: Any = service.control.broadcast(
        command, arguments=arguments, reply=True, timeout=PATIENCE, limit=1
    )
    assert words in replies[0][NODE]["error"]


def test_a_revoke_outlasts_the_worker(own_stack: LocalStack, service: Celery) -> None:
    """The mark is in Redis, because Celery's own list is in the worker's memory."""
    ledger, job = Ledger(own_stack.broker_url), new_job()
    ledger.add_pending(job)  # Its message waits where this worker does not take from.
    service.control.revoke(job.id)
    assert outcome_of(own_stack, job.id).state == "cancelled"
    assert ledger.pending_jobs([job.id]) == []


def test_an_expired_or_revoked_canvas_is_cancelled(own_stack: LocalStack, service: Celery) -> None:
    expired, revoked = new_job(), new_job()
    past = datetime.now(UTC) - timedelta(seconds=1)
    cut(service, expired, expires=past).apply_async()
    outcome = outcome_of(own_stack, expired.id)
    assert (outcome.state, outcome.message) == (
        "cancelled",
        "did not begin: the time in its message's expires had passed",
    )
    # Celery's id of the task is not the job's.
    service.control.revoke("another-id", reply=True, timeout=PATIENCE, limit=1)
    cut(service, revoked, task_id="another-id").apply_async()
    assert outcome_of(own_stack, revoked.id).state == "cancelled"


def test_a_chain_hands_on_every_type_unchanged(client: Client, service: Celery) -> None:
    values = [
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        *(uuid.UUID(int=5), Decimal("1.50"), b"text", b"\xff\xfe"),
        {"nested": [date(2026, 1, 2), {"deep": Decimal(2)}]},
    ]
    due = datetime.now(UTC) + timedelta(days=2)
    keep = service.signature("service.keep", args=values, queue="service", eta=due, expires=due)
    link = service.signature("service.linked", args=values, queue="linked", countdown=5)
    first = cut(service, new_job())
    first.link(link)
    chain(first, keep, app=service).apply_async()
    kept, linked = next_message(client, "service"), next_message(client, "linked")
    for message in (kept, linked):
        assert message["args"][0]["code"] == "forbidden"
        assert message["args"][1:] == values
    assert datetime.fromisoformat(kept["headers"]["eta"]) == due
    assert datetime.fromisoformat(kept["headers"]["expires"]) == due
    assert linked["headers"]["eta"]


def test_groups_and_chords_work_with_another_result_backend(
    client: Client, service: Celery
) -> None:
    body = service.signature("service.keep", args=[Decimal(3)], queue="service")
    header = group((cut(service, new_job()) for _ in range(3)), app=service)
    chord(header, body, app=service).apply_async()
    outcomes, value = next_message(client, "service")["args"]
    assert [outcome["code"] for outcome in outcomes] == ["forbidden"] * 3
    assert value == Decimal(3)
    results = [cut(service, new_job()).apply_async(ignore_result=False) for _ in range(2)]
    assert [result.get(timeout=PATIENCE)["code"] for result in results] == ["forbidden"] * 2


def test_a_delivery_ends_whatever_celery_does_behind_the_job(
    own_stack: LocalStack, own_worker: Child, client: Client, service: Celery
) -> None:
    """More often than there are threads: each would be held for ever."""
    with redis.Redis.from_url(backend_url(own_stack)) as server:
        server.set("celery-taskset-meta-broken.j", "not the results of a chord")
    body = service.signature("service.keep", queue="service")
    jobs = [new_job() for _ in range(4)]
    for job in jobs:
        cut(service, job).apply_async(group_id="broken", chord=body)
    for job in jobs:
        assert outcome_of(own_stack, job.id).code == "forbidden"
    assert client.submit("s3://any/a.jpg", image="s3://forbidden/a.png").wait(PATIENCE).code
    wait_until_nothing_is_held(client)
    assert "Celery failed after the task" in own_worker.log.read_text()


def test_flower_sees_and_cancels_jobs(own_stack: LocalStack, client: Client, flower: str) -> None:
    def ask(path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(flower + path, method=method)  # noqa: S310 - our Flower
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310 - the same
            return json.load(response)

    assert ask("/api/workers?refresh=1")[NODE]["stats"]["pool"]["max-concurrency"] == 3
    outcome = client.submit("s3://any/a.jpg", image="s3://forbidden/a.png").wait(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while ask("/api/tasks?limit=50").get(outcome.job_id, {}).get("state") != "SUCCESS":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    job = new_job()
    ask(f"/api/task/revoke/{job.id}", "POST")
    client.submit_many([job])
    assert outcome_of(own_stack, job.id).state == "cancelled"


def test_nothing_is_held_and_celery_s_shutdown_ends_the_worker_as_sigterm(
    client: Client, service: Celery, own_worker: Child
) -> None:
    wait_until_nothing_is_held(client)
    replies: Any = service.control.broadcast("shutdown", reply=True, timeout=PATIENCE, limit=1)
    assert replies == [{NODE: {"ok": "the worker ends"}}]
    assert own_worker.wait(PATIENCE) == 0
