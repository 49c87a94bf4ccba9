"""Faults of the broker: restarts, lost connections, refused writes and a lost delivery."""

import shutil
import signal
import time
from typing import Final

import redis

from deploy.local import free_ports
from tests.system.chaos.cluster import PERSISTENT, Cluster, UnexpectedState, until
from tests.system.chaos.load import Load
from tests.system.chaos.rounds import Fault

_FAULT_SECONDS: Final = 1.0
"""How long the broker refuses writes."""
_BLACK_HOLE_SECONDS: Final = 4.0
"""How long the network is a black hole."""


def _restart(cluster: Cluster, load: Load) -> None:
    """Restart the broker three times, each time after a few more images have run."""
    before = cluster.runs()
    load.send()
    for done in (2, 5, 8):
        cluster.until_runs(before + done)
        _kill_broker(cluster)
        cluster.broker = cluster.stack.restart_broker(*PERSISTENT)


def _forget(cluster: Cluster, load: Load) -> None:
    """Erase the broker's data three times; the producer submits its jobs again each time."""
    before = cluster.runs()
    load.send()
    for done in (2, 4, 6):
        cluster.until_runs(before + done)
        _kill_broker(cluster)
        shutil.rmtree(cluster.folder / "broker")
        cluster.broker = cluster.stack.restart_broker(*PERSISTENT)
        if hasattr(load, "commands"):
            load.wait(30)
        load.send()


def _refuses(cluster: Cluster) -> None:
    try:
        cluster.server.set("chaos", "x" * 1000)
    except redis.ResponseError:
        return
    raise UnexpectedState("expected a broker that refuses writes, found one that accepts them")


def _kill_broker(cluster: Cluster) -> None:
    cluster.broker.signal(signal.SIGKILL)
    cluster.broker.wait()


def _reset_idle(cluster: Cluster, load: Load) -> None:
    cluster.network.reset()
    load.send()


def _reset_busy(cluster: Cluster, load: Load) -> None:
    before = cluster.runs()
    load.send()
    for done in (1, 4, 7):
        cluster.until_runs(before + done)
        cluster.network.reset()


def _black_hole_idle(cluster: Cluster, load: Load) -> None:
    cluster.network.black_hole()
    time.sleep(_BLACK_HOLE_SECONDS)
    cluster.network.heal()
    load.send()


def _black_hole_busy(cluster: Cluster, load: Load) -> None:
    before = cluster.runs()
    load.send()
    cluster.until_runs(before + 2)
    cluster.network.black_hole()
    time.sleep(_BLACK_HOLE_SECONDS)
    cluster.network.heal()


def _full(cluster: Cluster, load: Load) -> None:
    before = cluster.runs()
    load.send()
    cluster.until_runs(before + 2)
    cluster.server.config_set("maxmemory", "1mb")
    _refuses(cluster)
    time.sleep(_FAULT_SECONDS)
    cluster.server.config_set("maxmemory", "0")


def _read_only(cluster: Cluster, load: Load) -> None:
    """Make the broker a replica of a master that does not answer, as after a failover."""
    before = cluster.runs()
    load.send()
    cluster.until_runs(before + 2)
    cluster.server.replicaof("127.0.0.1", str(free_ports(1)[0]))
    _refuses(cluster)
    time.sleep(_FAULT_SECONDS)
    cluster.server.replicaof("NO", "ONE")


def _lose_delivery(cluster: Cluster, load: Load) -> None:
    cluster.network.lose_next_delivery()
    load.send()
    until(cluster.network.delivery_lost.is_set, "a lost delivery")


FAULTS: Final = (
    Fault(
        name="broker-restarted",
        what="broker killed and restarted with persistence, three times under load",
        inject=_restart,
    ),
    Fault(
        name="broker-restarted-under-sync",
        what="broker killed and restarted with persistence, a run of `cutwork sync`",
        inject=_restart,
        by="sync",
    ),
    Fault(
        name="broker-forgets",
        what="broker restarted without persistence, three times; the producer submits again",
        inject=_forget,
    ),
    Fault(
        name="broker-forgets-under-sync",
        what="broker restarted without persistence; `cutwork sync` is run again",
        inject=_forget,
        by="sync",
    ),
    Fault(
        name="connections-reset-idle",
        what="broker connections reset while idle",
        inject=_reset_idle,
    ),
    Fault(
        name="connections-reset-busy",
        what="broker connections reset under load, three times",
        inject=_reset_busy,
    ),
    Fault(
        name="black-hole-idle",
        what="broker connections black-holed while idle, never restored",
        inject=_black_hole_idle,
        patience=90,
    ),
    Fault(
        name="black-hole-busy",
        what="broker connections black-holed under load, never restored",
        inject=_black_hole_busy,
        patience=120,
    ),
    Fault(name="broker-full", what="broker at maxmemory for a second", inject=_full),
    Fault(name="broker-read-only", what="broker answers READONLY for a second", inject=_read_only),
    Fault(
        name="delivery-lost",
        what="a message lost between BRPOP and the unacked hash",
        inject=_lose_delivery,
    ),
    Fault(
        name="delivery-lost-under-sync",
        what="a message lost between the two, a run of `cutwork sync`",
        inject=_lose_delivery,
        by="sync",
    ),
)
