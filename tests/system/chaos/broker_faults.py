"""Faults of the broker: restarts, lost connections, refused writes and a lost delivery."""

import shutil
import signal
import time
from typing import Final

import redis

from deploy.local import free_ports
from tests.system.chaos.load import Load
from tests.system.chaos.rounds import Fault
from tests.system.chaos.testbed import PERSISTENT, Testbed, UnexpectedState, until

_FAULT_SECONDS: Final = 1.0
"""How long the broker refuses writes."""
_BLACK_HOLE_SECONDS: Final = 4.0
"""How long the network is a black hole."""


def _restart(testbed: Testbed, load: Load) -> None:
    """Restart the broker three times, each time after a few more images have run."""
    before = testbed.runs()
    load.send()
    for done in (2, 5, 8):
        testbed.until_runs(before + done)
        _kill_broker(testbed)
        testbed.broker = testbed.stack.restart_broker(*PERSISTENT)


def _forget(testbed: Testbed, load: Load) -> None:
    """Erase the broker's data three times; the producer submits its jobs again each time."""
    before = testbed.runs()
    load.send()
    for done in (2, 4, 6):
        testbed.until_runs(before + done)
        _kill_broker(testbed)
        shutil.rmtree(testbed.folder / "broker")
        testbed.broker = testbed.stack.restart_broker(*PERSISTENT)
        if hasattr(load, "commands"):
            load.wait(30)
        load.send()


def _refuses(testbed: Testbed) -> None:
    try:
        testbed.server.set("chaos", "x" * 1000)
    except redis.ResponseError:
        return
    raise UnexpectedState("expected a broker that refuses writes, found one that accepts them")


def _kill_broker(testbed: Testbed) -> None:
    testbed.broker.signal(signal.SIGKILL)
    testbed.broker.wait()


def _reset_idle(testbed: Testbed, load: Load) -> None:
    testbed.network.reset()
    load.send()


def _reset_busy(testbed: Testbed, load: Load) -> None:
    before = testbed.runs()
    load.send()
    for done in (1, 4, 7):
        testbed.until_runs(before + done)
        testbed.network.reset()


def _black_hole_idle(testbed: Testbed, load: Load) -> None:
    testbed.network.black_hole()
    time.sleep(_BLACK_HOLE_SECONDS)
    testbed.network.heal()
    load.send()


def _black_hole_busy(testbed: Testbed, load: Load) -> None:
    before = testbed.runs()
    load.send()
    testbed.until_runs(before + 2)
    testbed.network.black_hole()
    time.sleep(_BLACK_HOLE_SECONDS)
    testbed.network.heal()


def _full(testbed: Testbed, load: Load) -> None:
    before = testbed.runs()
    load.send()
    testbed.until_runs(before + 2)
    testbed.server.config_set("maxmemory", "1mb")
    _refuses(testbed)
    time.sleep(_FAULT_SECONDS)
    testbed.server.config_set("maxmemory", "0")


def _read_only(testbed: Testbed, load: Load) -> None:
    """Make the broker a replica of a master that does not answer, as after a failover."""
    before = testbed.runs()
    load.send()
    testbed.until_runs(before + 2)
    testbed.server.replicaof("127.0.0.1", str(free_ports(1)[0]))
    _refuses(testbed)
    time.sleep(_FAULT_SECONDS)
    testbed.server.replicaof("NO", "ONE")


def _lose_delivery(testbed: Testbed, load: Load) -> None:
    testbed.network.lose_next_delivery()
    load.send()
    until(testbed.network.delivery_lost.is_set, "a lost delivery")


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
        what="broker connections black-holed while idle, never to recover",
        inject=_black_hole_idle,
        patience=90,
    ),
    Fault(
        name="black-hole-busy",
        what="broker connections black-holed under load, never to recover",
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
