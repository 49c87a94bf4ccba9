"""Unacknowledged deliveries of a real queue: a requeued message belongs to the next worker."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis
from kombu import Connection

from producer import Client, Job
from producer.contract.job import QUEUE
from producer.contract.s3_uri import ImageRef
from tests.support.patience import PATIENCE
from worker.broker.kombu_patches import Transport
from worker.broker.kombu_qos import QoS

Take = Callable[[], tuple[QoS, str]]


@pytest.fixture
def server(idle: Client) -> redis.Redis:
    server: redis.Redis = idle.runs.server
    return server


@pytest.fixture
def take(idle: Client) -> Iterator[Take]:
    """Return a function that takes one message with a new consumer and returns its delivery tag."""
    with ExitStack() as cleanup:

        def take() -> tuple[QoS, str]:
            connection = Connection(idle.broker_url, transport=Transport, transport_options=OPTIONS)
            queue = connection.SimpleQueue(QUEUE)
            message: Any = queue.get(timeout=PATIENCE)
            qos, tag = message.channel.qos, str(message.delivery_tag)
            assert qos.unacked_tags() == {tag}
            # Closing requeues messages over connections that kombu itself leaves open.
            cleanup.callback(lambda: qos.channel._pool and qos.channel._pool.disconnect())
            cleanup.callback(connection.close)
            return qos, tag

        yield take


OPTIONS = {"sep": ":", "priority_steps": [0, 3, 6, 9], "socket_timeout": 5}


def submit(client: Client) -> None:
    source = ImageRef(bucket="photos", key="a.jpg")
    client.submit_many([Job(source=source, image=ImageRef(bucket="cutouts", key="a.png"))])


def state(client: Client) -> tuple[int, int]:
    """Return how many messages are queued and how many are unacknowledged."""
    status = client.status()
    return status.waiting, status.in_flight


@pytest.mark.parametrize("late_call", ["ack", "reject", "close", "renew"])
def test_a_requeued_message_belongs_to_the_next_worker(
    idle: Client, take: Take, late_call: str
) -> None:
    submit(idle)
    first, tag = take()
    first.requeue(tag, idle._ledger)
    assert state(idle) == (1, 0)
    second, second_tag = take()
    assert second_tag == tag
    idle.runs.server.zadd("unacked_index", {tag: 7})
    match late_call:
        case "ack":
            first.ack(tag)
        case "reject":
            first.reject(tag, requeue=True)
        case "close":
            first.channel.close()
        case "renew":
            first.renew(idle._ledger)
    assert state(idle) == (0, 1)
    assert idle.runs.server.zscore("unacked_index", tag) == 7
    second.ack(tag)
    assert state(idle) == (0, 0)


@pytest.mark.parametrize("call", ["ack", "reject"])
def test_a_message_that_cannot_be_acknowledged_is_no_longer_renewed(
    idle: Client, server: redis.Redis, take: Take, call: str
) -> None:
    submit(idle)
    qos, tag = take()
    server.config_set("maxclients", 1)
    try:
        server.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(redis.ConnectionError):
            qos.ack(tag) if call == "ack" else qos.reject(tag, requeue=True)
    finally:
        server.config_set("maxclients", 1000)
    assert qos.unacked_tags() == set()
    assert qos.can_consume()
    # The broker redelivers it after the visibility timeout.
    assert state(idle) == (0, 1)


def test_a_malformed_entry_does_not_affect_a_valid_message(
    idle: Client, server: redis.Redis, take: Take
) -> None:
    submit(idle)
    qos, tag = take()
    server.hset("unacked", "strange", "[1, 2")
    qos.restore_by_tag("strange")
    assert server.hkeys("unacked") == [tag]
    qos.restore_by_tag(tag)
    assert state(idle) == (1, 0)


def test_a_delivery_has_the_server_s_time_from_its_first_write(
    idle: Client, server: redis.Redis, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker with a fast clock may be killed between a wrong score and its correction."""
    submit(idle)
    monkeypatch.setattr("kombu.transport.redis.time", lambda: time.time() + 600)
    with server.monitor() as monitor:  # type: ignore[no-untyped-call]  # redis-py has no types here
        take()
        server.echo("end")
        scores = []
        while (words := monitor.next_command()["command"].split())[:2] != ["ECHO", "end"]:
            if words[:2] == ["ZADD", "unacked_index"]:
                scores.append(float(words[2]))
    assert scores == [pytest.approx(time.time(), abs=300)]
