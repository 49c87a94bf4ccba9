"""Malformed messages: the worker survives each, loses no thread and keeps none unacknowledged."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from deploy.child import Child
from deploy.local import LocalStack, free_ports
from producer import Options
from producer.contract.job import QUEUE, TASK_NAME
from producer.store.ledger import Ledger
from tests.support.messages import message, mutated_messages
from tests.support.patience import PATIENCE

CONCURRENCY = 2


BODIES: list[object] = [
    *(42, None, "x", [], [[], {}], ["abc", {}, {}], [5, {}, {}], [[], [1], {}], [[], 5, {}]),
    *([[{}], {}, 42], [[{}], {}, {"chain": 5}], [[{}], {}, {"chord": 7}]),
    *([[{}], {}, {"callbacks": [5]}], [[{}], {}, {"errbacks": "x"}]),
    *({"args": [], "task": TASK_NAME, "id": "1"}, {"task": 5}),
    *([[{}], {}, {"hostname": 5}], [[{}], {}, {"id": "another"}]),
]
HEADERS: list[dict[str, Any]] = [
    *({"retries": "x"}, {"retries": -5}, {"retries": 10**30}, {"eta": "x"}, {"eta": {}}),
    *({"expires": "x"}, {"expires": {}}, {"timelimit": 5}, {"timelimit": ["a", "b"]}),
    *({"id": 5}, {"id": None}, {"id": {}}, {"id": "x" * 100_000}, {"root_id": 5}),
    *({"task": 5}, {"task": {}}, {"task": "no.such.task"}, {"task": None}),
    *({"group": "g", "group_index": "z"}, {"argsrepr": 5}, {"shadow": {}}, {"origin": 5}),
    *({"compression": "application/x-gzip"}, {"compression": 5}, {"ignore_result": "x"}),
    *({"stamped_headers": 5, "stamps": 6}, {"replaced_task_nesting": "x"}),
    *({"eta": "2999-01-01T00:00:00Z"}, {"lang": []}, {"redelivered": "x"}),
]
REPLACED: list[dict[str, Any]] = [
    *({"update": 5}, {"get": 5}, {"chain": [{}]}, {"callbacks": 5}, {"errbacks": [{}]}),
    *({"chord": {}}, {"args": 5}, {"headers": 5}, {"_children": 5}, {"called_directly": True}),
    *({"is_eager": True}, {"logfile": 5}, {"children": 5}, {"delivery_info": 5}),
]
"""Headers that would replace a part of Celery's request; they are left out, and the job runs."""
PROPERTIES: list[dict[str, Any]] = [
    *({"reply_to": 5, "correlation_id": {}}, {"priority": "x"}, {"delivery_info": 5}),
    *({"delivery_tag": None}, {"delivery_tag": {}}, {"body_encoding": "zip"}),
    *({"delivery_info": {}}, {"delivery_info": {"exchange": [], "routing_key": {}}}),
    {"delivery_info": {"exchange": "", "routing_key": ["a"]}},
    {"delivery_info": {"exchange": "", "routing_key": None}},
]
TOPS: list[dict[str, Any]] = [
    *({"headers": None}, {"headers": []}, {"properties": None}, {"body": 5}),
    *({"content-encoding": "nonsense"}, {"content-type": 5}),
]
BESIDE: list[dict[str, Any]] = [{}, {"id": {}}, {"eta": {}}, {"timelimit": 5}]
NO_IDS: list[Any] = [None, "", 5, []]
FOREIGN: list[dict[str, Any]] = [
    *({"task": "celery.accumulate"} | item for item in BESIDE),
    *({"task": "celery.map"} | item for item in BESIDE),
    *({"task": "no.such.task", "id": item} for item in NO_IDS),
]
GOOD: list[Any] = [[{}], {}, {}]
HUGE = {"__type__": "decimal", "__value__": "1e1000000000"}
"""A value that kombu would decode as a number, which takes hours to print."""
ENTRIES = {
    "no JSON": "not json at all",
    "no envelope": "{}",
    "a list": "[]",
    "deep": "[" * 100_000,
    "a long number": '{"a":' + "9" * 5000 + "}",
    "broken JSON": message(None, raw=b"{not json"),
    "broken UTF-8": message(None, raw=b"\xff\xfe"),
    "pickle": message(
        None,
        raw=b"cos\nsystem\n(S'true'\ntR.",
        top={"content-type": "application/x-python-serialize"},
    ),
    "yaml": message(
        None, raw=b"!!python/object/apply:os.getpid []", top={"content-type": "application/x-yaml"}
    ),
    **{f"body {body!r}": message(body) for body in BODIES},
    **{f"headers {item!r:.60}": message(GOOD, headers=item) for item in HEADERS},
    **{f"foreign {item!r}": message(GOOD, headers=item) for item in FOREIGN},
    "foreign body": message(42, headers={"task": "celery.accumulate"}),
    **{f"properties {item!r}": message(GOOD, properties=item) for item in PROPERTIES},
    **{f"top {item!r}": message(GOOD, top=item) for item in TOPS},
    "a number of a billion digits": message([[{"options": {"quality": HUGE}}], {}, {}]),
    "a priority of a billion digits": message(GOOD, properties={"priority": HUGE}),
    "a body of a megabyte": message([["x" * 2**20], {}, {}]),
    "headers of a megabyte": message(GOOD, headers={"argsrepr": "x" * 2**20}),
    "a tag that is a number": message(GOOD, properties={"delivery_tag": 5}),
}
UNACKED = {
    "no JSON": "\x01 no json",
    "no message": "[1, 2, 3]",
    "a long entry": "[" + " " * 2**22 + "]",
    "a number of a billion digits": json.dumps([{"properties": {"priority": HUGE}}, "", QUEUE]),
}


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A broker without S3, because messages are refused before the task reads an image."""
    with LocalStack(tmp_path_factory.mktemp("intake")) as stack:
        stack.start_broker()
        stack.s3_url = f"http://127.0.0.1:{free_ports(1)[0]}"
        yield stack


@pytest.fixture(scope="module")
def own_worker(own_broker: LocalStack) -> Child:
    child = own_broker.start_worker(concurrency=CONCURRENCY, CUTWORK_WRITE_TO="s3://allowed")
    own_broker.wait_for_worker(child)
    return child


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_a_malformed_message_is_refused(
    entry: str, own_broker: LocalStack, own_worker: Child
) -> None:
    before = own_worker.log.stat().st_size
    with redis.Redis.from_url(own_broker.broker_url) as server:
        server.lpush(QUEUE, entry)
        deadline = time.monotonic() + PATIENCE
        while server.llen(QUEUE) or own_worker.log.stat().st_size == before:
            assert own_worker.running, own_worker.tail()
            assert time.monotonic() < deadline, "still queued: the worker lost its threads"
            time.sleep(0.01)
        while server.zcard("unacked_index"):
            assert time.monotonic() < deadline, "unacknowledged for ever"
            time.sleep(0.01)
    assert own_worker.running


@pytest.mark.parametrize("entry", UNACKED.values(), ids=UNACKED)
def test_a_malformed_unacknowledged_entry_is_dropped(
    entry: str, own_broker: LocalStack, own_worker: Child
) -> None:
    """Every worker would try to requeue it first, so it would block all others."""
    with redis.Redis.from_url(own_broker.broker_url) as server:
        server.hset("unacked", "strange", entry)
        server.zadd("unacked_index", {"strange": 1})
        deadline = time.monotonic() + PATIENCE
        while server.hlen("unacked") or server.zcard("unacked_index"):
            assert own_worker.running, own_worker.tail()
            assert time.monotonic() < deadline, own_worker.tail()
            time.sleep(0.05)
    assert "Unrecoverable" not in own_worker.tail()


LEAVES_OUTCOME: dict[str, tuple[object, dict[str, Any]]] = {
    "a body that is none": (42, {}),
    "broken JSON": (None, {"raw": b"{not json"}),
    "pickle": (None, {"raw": b"N.", "top": {"content-type": "application/x-python-serialize"}}),
    "a wrong header": (GOOD, {"headers": {"retries": "x"}}),
    "a far start": (GOOD, {"headers": {"eta": "2999-01-01T00:00:00Z"}}),
    "a wrong property": (GOOD, {"properties": {"priority": "x"}}),
    "a list as routing key": (
        GOOD,
        {"properties": {"delivery_info": {"exchange": "", "routing_key": ["a"]}}},
    ),
    "an empty signature": ([[{}], {}, {"chain": [{}]}], {}),
    "another task": (GOOD, {"headers": {"task": "no.such.task"}}),
    "compression": (GOOD, {"headers": {"compression": "application/x-gzip"}}),
    "a long body": ([["x" * 2**18], {}, {}], {}),
    **{f"the header {next(iter(item))}": (GOOD, {"headers": item}) for item in REPLACED},
}
"""Bodies and parts of messages that name an id."""


def test_a_refused_message_that_names_an_id_leaves_an_outcome(
    own_broker: LocalStack, own_worker: Child
) -> None:
    entries = {}
    for number, (body, parts) in enumerate(LEAVES_OUTCOME.values()):
        headers = {"id": f"refused-{number}"} | parts.get("headers", {})
        entries[headers["id"]] = message(body, **(parts | {"headers": headers}))
    # The id of the job counts, not that of Celery's task.
    entries["named"] = message([[{"id": "named"}], {}, {"chain": [{}]}])
    ledger = Ledger(own_broker.broker_url)
    ledger.redis.lpush(QUEUE, *entries.values())
    for job_id in entries:
        outcome = ledger.read_outcomes([job_id], wait=PATIENCE)[job_id]
        assert (outcome.state, outcome.code) == ("failed", "malformed_message"), outcome
        assert outcome.message
    assert own_worker.running


def test_after_many_mutations_nothing_is_held_and_honest_jobs_are_done(
    own_broker: LocalStack, own_worker: Child
) -> None:
    """Whatever passes the check, Celery can use: `make fuzz` looks for more of it."""
    entries = list(mutated_messages(seed=7, count=400))
    ledger = Ledger(own_broker.broker_url)
    ledger.redis.lpush(QUEUE, *entries)
    with own_broker.client() as client:
        for _ in range(3 * CONCURRENCY):
            outcome = client.submit("s3://any/a.jpg", image="s3://forbidden/a.png").wait(PATIENCE)
            assert outcome.code == "forbidden"
    deadline = time.monotonic() + PATIENCE
    while ledger.redis.llen(QUEUE) or ledger.redis.zcard("unacked_index"):
        assert own_worker.running, own_worker.tail()
        assert time.monotonic() < deadline, ledger.redis.hgetall("unacked")
        time.sleep(0.02)


def test_a_message_without_retries_is_a_first_attempt(
    own_broker: LocalStack, own_worker: Child
) -> None:
    with redis.Redis.from_url(own_broker.broker_url) as server:
        server.lpush(QUEUE, message(GOOD, headers={"id": "null-retries", "retries": None}))
    outcomes = Ledger(own_broker.broker_url).read_outcomes(["null-retries"], wait=PATIENCE)
    assert outcomes["null-retries"].code == "malformed_message"
    assert own_worker.running


def test_every_thread_still_works_afterwards(own_broker: LocalStack, own_worker: Child) -> None:
    with own_broker.client() as client:
        for _ in range(3 * CONCURRENCY):
            outcome = client.submit(
                "s3://any/a.jpg", image="s3://forbidden/a.png", options=Options(enabled=False)
            ).wait(PATIENCE)
            assert outcome.code == "forbidden"
    assert own_worker.running
