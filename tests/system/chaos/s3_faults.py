"""Faults of S3: errors, stalls, truncated bodies and expired credentials."""

import time
from typing import Final

from tests.system.chaos.cluster import Cluster, until
from tests.system.chaos.load import Load
from tests.system.chaos.rounds import Fault, Injector
from tests.system.chaos.s3_proxy import CutBody, Hold, Refuse, S3Fault

_ALL: Final = ("GET", "HEAD", "PUT", "DELETE")


def _for_a_while(fault: S3Fault, *methods: str, seconds: float = 1.5, share: float = 1) -> Injector:
    """Return an injector that fails a share of the requests for some seconds while jobs run."""

    def inject(cluster: Cluster, load: Load) -> None:
        with cluster.store.failing(fault, *methods, share=share) as rule:
            load.send()
            until(lambda: rule.hits, "a failed request")
            time.sleep(seconds)

    return inject


def _now_and_then(cluster: Cluster, load: Load) -> None:
    """Fail 5 % of all requests as long as the load runs."""
    with cluster.store.failing(Refuse(500, "InternalError"), *_ALL, share=0.05):
        load.send()
        cluster.fault_end = time.monotonic()
        load.wait(40)


def _a_few(fault: S3Fault, *methods: str, place: str, times: int = 4) -> Injector:
    """Return an injector that fails the first `times` requests under a prefix."""

    def inject(cluster: Cluster, load: Load) -> None:
        with cluster.store.failing(fault, *methods, place=place, times=times) as rule:
            load.send()
            until(lambda: rule.hits >= times, f"{times} failed requests")

    return inject


def _stall(cluster: Cluster, load: Load) -> None:
    """Hold six requests for 30 s, until their workers have given up on them."""
    with cluster.store.failing(Hold(seconds=30), *_ALL, times=6) as rule:
        load.send()
        until(lambda: rule.hits >= 6, "6 held requests")
        cluster.fault_end = time.monotonic()
        load.wait(40)


FAULTS: Final = (
    Fault(
        name="s3-500",
        what="S3 answers 500 for 1.5 s",
        inject=_for_a_while(Refuse(500, "InternalError"), *_ALL),
    ),
    Fault(
        name="s3-slow-down",
        what="S3 answers 503 SlowDown for 1.5 s",
        inject=_for_a_while(Refuse(503, "SlowDown"), *_ALL),
    ),
    Fault(
        name="s3-expired",
        what="S3 answers 403 ExpiredToken for 1.5 s",
        inject=_for_a_while(Refuse(403, "ExpiredToken"), *_ALL),
    ),
    Fault(
        name="s3-cuts-bodies",
        what="S3 cuts bodies half-way",
        inject=_a_few(CutBody(), "GET", place="photos", times=6),
    ),
    Fault(name="s3-stalls", what="S3 takes 30 s for a request", inject=_stall),
    Fault(
        name="s3-unreliable",
        what="5 % of all S3 calls fail",
        inject=_now_and_then,
        items=24,
    ),
)
