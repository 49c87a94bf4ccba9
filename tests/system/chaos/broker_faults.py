"""A broker that restarts, cannot be reached, or refuses; and a delivery lost on its way."""

import shutil
import signal
import time
from typing import Final

import redis

from deploy.local import free_ports
from tests.system.chaos.ground import PERSISTENT, Broken, Ground, until
from tests.system.chaos.load import Load
from tests.system.chaos.rounds import Fault

_MOMENT: Final = 1.0
"""Seconds a fault of the broker lasts."""
_BLACK: Final = 4.0
"""Seconds the network is a black hole."""


def _restart(ground: Ground, load: Load) -> None:
    """Three times, each when a few more images are done."""
    before = ground.runs()
    load.send()
    for done in (2, 5, 8):
        ground.until_runs(before + done)
        _kill_broker(ground)
        ground.broker = ground.stack.restart_broker(*PERSISTENT)


def _forget(ground: Ground, load: Load) -> None:
    """Everything the broker knew is gone, three times; whoever sent sends again."""
    before = ground.runs()
    load.send()
    for done in (2, 4, 6):
        ground.until_runs(before + done)
        _kill_broker(ground)
        shutil.rmtree(ground.folder / "broker")
        ground.broker = ground.stack.restart_broker(*PERSISTENT)
        if hasattr(load, "commands"):
            load.wait(30)
        load.send()


def _refuses(ground: Ground) -> None:
    try:
        ground.server.set("chaos", "x" * 1000)
    except redis.ResponseError:
        return
    raise Broken("expected a broker that refuses to write, found one that writes")


def _kill_broker(ground: Ground) -> None:
    ground.broker.signal(signal.SIGKILL)
    ground.broker.wait()


def _reset_idle(ground: Ground, load: Load) -> None:
    ground.network.reset()
    load.send()


def _reset_busy(ground: Ground, load: Load) -> None:
    before = ground.runs()
    load.send()
    for done in (1, 4, 7):
        ground.until_runs(before + done)
        ground.network.reset()


def _black_hole_idle(ground: Ground, load: Load) -> None:
    ground.network.black_hole()
    time.sleep(_BLACK)
    ground.network.heal()
    load.send()


def _black_hole_busy(ground: Ground, load: Load) -> None:
    before = ground.runs()
    load.send()
    ground.until_runs(before + 2)
    ground.network.black_hole()
    time.sleep(_BLACK)
    ground.network.heal()


def _full(ground: Ground, load: Load) -> None:
    before = ground.runs()
    load.send()
    ground.until_runs(before + 2)
    ground.server.config_set("maxmemory", "1mb")
    _refuses(ground)
    time.sleep(_MOMENT)
    ground.server.config_set("maxmemory", "0")


def _read_only(ground: Ground, load: Load) -> None:
    """As after a failover that this server lost: a replica of a master that does not answer."""
    before = ground.runs()
    load.send()
    ground.until_runs(before + 2)
    ground.server.replicaof("127.0.0.1", str(free_ports(1)[0]))
    _refuses(ground)
    time.sleep(_MOMENT)
    ground.server.replicaof("NO", "ONE")


def _lose_delivery(ground: Ground, load: Load) -> None:
    ground.network.lose_next_delivery()
    load.send()
    until(ground.network.delivery_lost.is_set, "a delivery that is lost")


FAULTS: Final = (
    Fault(
        name="broker-restarted",
        what="broker killed and restarted with persistence, three times under load",
        strike=_restart,
    ),
    Fault(
        name="broker-restarted-under-sync",
        what="broker killed and restarted with persistence, a run of `cutwork sync`",
        strike=_restart,
        by="sync",
    ),
    Fault(
        name="broker-forgets",
        what="broker restarted without persistence, three times; the producer submits again",
        strike=_forget,
    ),
    Fault(
        name="broker-forgets-under-sync",
        what="broker restarted without persistence; `cutwork sync` is run again",
        strike=_forget,
        by="sync",
    ),
    Fault(
        name="connections-reset-idle",
        what="broker connections reset while idle",
        strike=_reset_idle,
    ),
    Fault(
        name="connections-reset-busy",
        what="broker connections reset under load, three times",
        strike=_reset_busy,
    ),
    Fault(
        name="black-hole-idle",
        what="broker connections black-holed while idle, never to come back",
        strike=_black_hole_idle,
        patience=90,
    ),
    Fault(
        name="black-hole-busy",
        what="broker connections black-holed under load, never to come back",
        strike=_black_hole_busy,
        patience=120,
    ),
    Fault(name="broker-full", what="broker at maxmemory for a second", strike=_full),
    Fault(name="broker-read-only", what="broker answers READONLY for a second", strike=_read_only),
    Fault(
        name="delivery-lost",
        what="a message lost between BRPOP and the unacked hash",
        strike=_lose_delivery,
    ),
    Fault(
        name="delivery-lost-under-sync",
        what="a message lost between the two, a run of `cutwork sync`",
        strike=_lose_delivery,
        by="sync",
    ),
)
